import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TokenBucket } from '../../src/net/index.js'
import { GENERATION, HEADER_LENGTH, Opener, OVERHEAD, Sealer } from '../../src/wormhole/tunnel/cipher.js'
import { ControlQueue } from '../../src/wormhole/tunnel/control.js'
import { FrameWriter, parseFrames } from '../../src/wormhole/tunnel/frame.js'
import { Ephemeral, type TunnelKeys } from '../../src/wormhole/tunnel/greeting.js'
import { KeySchedule, type RenewalPart } from '../../src/wormhole/tunnel/key-schedule.js'
import { StreamViolation } from '../../src/wormhole/tunnel/receive-half.js'
import { Renewal } from '../../src/wormhole/tunnel/renewal.js'
import { Upkeep } from '../../src/wormhole/tunnel/upkeep.js'
import { type UpkeepFrame, upkeepBytes } from '../../src/wormhole/tunnel/upkeep-frame.js'
import { Prng } from '../simulation/prng.js'
import { TunnelWorld } from '../simulation/tunnel.js'

const secret = (fill: number) => Buffer.alloc(32, fill)

function sealed(sealer: Sealer, packet: number, text: string): Buffer {
  const datagram = Buffer.alloc(OVERHEAD + text.length)
  datagram.write(text, HEADER_LENGTH)
  sealer.seal(datagram, packet)
  return datagram
}

function opened(opener: Opener, datagram: Buffer): string | undefined {
  return opener.open(Buffer.from(datagram), Opener.packetOf(datagram) ?? -1)?.toString()
}

describe('the epochs of one direction', () => {
  test('both open while datagrams are reordered, until the older one is forgotten', () => {
    const [sealer, opener] = [new Sealer(secret(1)), new Opener(secret(1))]
    const late = [5, 6].map((packet) => sealed(sealer, packet, 'late'))
    sealer.renew(secret(2), 0)
    const next = sealed(sealer, 7, 'next')
    assert.equal(opened(opener, next), undefined, 'not before its keys are there')
    opener.renew(secret(2), 0)
    assert.equal(opener.epoch, 0)
    assert.equal(opened(opener, next), 'next')
    assert.equal(opener.epoch, 1)
    assert.equal(opened(opener, late[0] as Buffer), 'late')
    opener.forgetOlder()
    assert.equal(opened(opener, late[1] as Buffer), undefined)
    assert.equal(opened(opener, sealed(sealer, 8, 'on')), 'on')
  })

  test('one goes through generations like another, whenever it begins and whatever comes first', () => {
    const orders = [
      ['first', 'second', 'third'],
      ['second', 'first', 'third'],
      ['second', 'third', 'first'],
    ] as const
    for (const order of orders) {
      const [sealer, opener] = [new Sealer(secret(1)), new Opener(secret(1))]
      for (const at of [0, 1, 2, 3]) assert.equal(opened(opener, sealed(sealer, at * GENERATION, 'on')), 'on')
      // the keys are agreed on in generation 3, and used at its very end
      opener.renew(secret(2), 3)
      sealer.renew(secret(2), 3)
      const datagrams = {
        first: sealed(sealer, 4 * GENERATION - 1, 'first'),
        second: sealed(sealer, 4 * GENERATION, 'second'),
        third: sealed(sealer, 4 * GENERATION + 1, 'third'),
      }
      for (const name of order) assert.equal(opened(opener, datagrams[name]), name, `${order}`)
    }
  })

  test('one whose sender went through generations before it began is found all the same', () => {
    const [sealer, opener] = [new Sealer(secret(1)), new Opener(secret(1))]
    opener.renew(secret(2), 0)
    for (const at of [0, 1, 2]) assert.equal(opened(opener, sealed(sealer, at * GENERATION, 'old')), 'old')
    sealer.renew(secret(2), 0)
    assert.equal(opened(opener, sealed(sealer, 2 * GENERATION + 4, 'new')), 'new')
  })

  test('a peer cannot have one begin where it has to be computed for long', () => {
    const opener = new Opener(secret(1))
    assert.ok(!opener.canRenew(1), 'later than the present generation')
    assert.throws(() => opener.renew(secret(2), 1), RangeError)
    const sealer = new Sealer(secret(1))
    for (let at = 0; at <= 17; at++) opened(opener, sealed(sealer, at * GENERATION, 'on'))
    assert.ok(!opener.canRenew(0), 'long ago')
    assert.ok(opener.canRenew(1))
  })

  test('secrets that were handed over are overwritten', () => {
    const secrets = [1, 2, 3, 4].map(secret)
    const [first, second, third, fourth] = secrets as [Buffer, Buffer, Buffer, Buffer]
    const [sealer, opener] = [new Sealer(first), new Opener(second)]
    sealer.renew(third, 0)
    opener.renew(fourth, 0)
    for (const each of secrets) assert.deepEqual(each, Buffer.alloc(32))
  })
})

describe('the key schedule', () => {
  const part = (more: Partial<RenewalPart> = {}): RenewalPart => ({
    epoch: 1,
    generation: 0,
    key: secret(9),
    ...more,
  })
  const start = (input = 1, transcript = 2) => new KeySchedule(secret(input), secret(transcript))

  test('gives both sides the same, and everything in it something else', () => {
    const shared = () => Buffer.alloc(32, 7)
    const all = [
      start().renew(shared(), part(), part({ key: secret(8) })),
      start(3).renew(shared(), part(), part({ key: secret(8) })),
      start(1, 3).renew(shared(), part(), part({ key: secret(8) })),
      start().renew(Buffer.alloc(32, 6), part(), part({ key: secret(8) })),
      start().renew(shared(), part({ key: secret(8) }), part()),
      start().renew(shared(), part({ generation: 1 }), part({ key: secret(8) })),
      start().renew(shared(), part(), part({ key: secret(8), generation: 1 })),
      start().renew(shared(), part({ epoch: 2 }), part({ key: secret(8) })),
    ].flatMap(({ initiator, responder }) => [initiator.toString('hex'), responder.toString('hex')])
    assert.equal(new Set(all).size, all.length)
    const again = start().renew(shared(), part(), part({ key: secret(8) }))
    assert.deepEqual([again.initiator.toString('hex'), again.responder.toString('hex')], all.slice(0, 2))
  })

  test('who has stolen all of it does not have what comes after one renewal, though it sees what is said', () => {
    const random = new Prng(1).bytes
    const [here, thief] = [start(), start()]
    const [one, other] = [new Ephemeral(random), new Ephemeral(random)]
    const [first, second] = [part({ key: one.publicKey }), part({ key: other.publicKey })]
    const shared = one.agree(other.publicKey) ?? assert.fail('no secret')
    const guess = new Ephemeral(random).agree(other.publicKey) ?? assert.fail('no secret')
    const true_ = here.renew(shared, first, second)
    const guessed = thief.renew(guess, first, second)
    assert.notDeepEqual(guessed, true_)
    assert.notDeepEqual(thief.exporter(1), here.exporter(1))
    assert.deepEqual(shared, Buffer.alloc(32), 'the secret is gone')
    // nor does it catch up again by itself
    const later = () => Buffer.alloc(32, 1)
    assert.notDeepEqual(
      thief.renew(later(), part({ epoch: 2 }), part({ epoch: 2 })),
      here.renew(later(), part({ epoch: 2 }), part({ epoch: 2 })),
    )
  })

  test('exports of two epochs, the present one and the one before', () => {
    const schedule = start()
    const seen = new Set<string>()
    for (let epoch = 0; epoch < 5; epoch++) {
      seen.add(schedule.exporter(epoch)?.toString('hex') ?? assert.fail('no exporter'))
      assert.equal(schedule.exporter(epoch + 1), undefined)
      if (epoch > 0) assert.ok(schedule.exporter(epoch - 1))
      if (epoch > 1) assert.equal(schedule.exporter(epoch - 2), undefined)
      schedule.renew(Buffer.alloc(32, 1), part(), part())
    }
    assert.equal(seen.size, 5)
    schedule.wipe()
    assert.deepEqual(schedule.exporter(5), Buffer.alloc(32))
  })
})

describe('a renewal that is none', () => {
  /** One side, alone, whose peer says what the test wants. */
  function side(initiator: boolean) {
    const keys: TunnelKeys = {
      sealer: new Sealer(secret(1)),
      opener: new Opener(secret(2)),
      schedule: new KeySchedule(secret(3), secret(4)),
    }
    const controls = new ControlQueue()
    const times = { every: 1_000, datagrams: 2 ** 32, grace: 1_000 }
    const budget = new TokenBucket({ burst: 10, rate: 1 }, 0)
    const counts = () => ({ sent: 5, received: 5 })
    const random = new Prng(1).bytes
    const renewal = new Renewal(
      { initiator, random, keys, controls, times, budget, counts, onkeys: () => {} },
      0,
    )
    return { renewal, controls, budget, keys }
  }
  const renew = (more: Partial<RenewalPart> = {}, type: 'renew' | 'renewed' = 'renew') => ({
    type,
    epoch: 1,
    generation: 0,
    key: new Ephemeral(new Prng(2).bytes).publicKey,
    ...more,
  })

  test('with a key of small order is refused, and so is one of zeros', () => {
    // the points of order 1, 2, 4 and 8 (RFC 7748 section 7; cr.yp.to/ecdh.html)
    const points = [
      '00'.repeat(32),
      `01${'00'.repeat(31)}`,
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
      `ec${'ff'.repeat(30)}7f`,
      `ed${'ff'.repeat(30)}7f`,
      `ee${'ff'.repeat(30)}7f`,
    ]
    for (const point of points) {
      const key = Buffer.from(point, 'hex')
      assert.throws(() => side(false).renewal.handle(0, renew({ key })), StreamViolation, point)
      const initiator = side(true)
      initiator.renewal.tick(1_000, 0)
      assert.throws(() => initiator.renewal.handle(1_000, renew({ key }, 'renewed')), StreamViolation, point)
    }
  })

  test('by the wrong side, out of turn, unasked or from nowhere breaks the protocol', () => {
    assert.throws(() => side(true).renewal.handle(0, renew()), StreamViolation)
    assert.throws(() => side(false).renewal.handle(0, renew({}, 'renewed')), StreamViolation)
    assert.throws(() => side(false).renewal.handle(0, { type: 'renewal-wanted', epoch: 1 }), StreamViolation)
    assert.throws(() => side(true).renewal.handle(0, renew({}, 'renewed')), StreamViolation)
    for (const type of ['renew', 'renewed'] as const)
      assert.throws(
        () => side(type === 'renewed').renewal.handle(0, renew({ epoch: 2 }, type)),
        StreamViolation,
      )
    assert.throws(() => side(false).renewal.handle(0, renew({ generation: 1 })), StreamViolation)
    for (const generation of [2 ** 24, 2 ** 48, Number.MAX_SAFE_INTEGER])
      assert.throws(() => side(false).renewal.handle(0, renew({ generation })), StreamViolation)
    const { renewal } = side(false)
    renewal.handle(0, renew())
    assert.throws(() => renewal.handle(0, renew({ epoch: 2 })), StreamViolation, 'before the last was in use')
  })

  test('that had to wait for the budget ends the tunnel like any other', () => {
    const { renewal, budget } = side(false)
    while (budget.take(0));
    renewal.handle(0, renew({ key: Buffer.alloc(32) }))
    assert.match(renewal.tick(1_000, 0) ?? '', /^The peer violated the protocol: a key of small order\.$/)
  })

  test('twice means nothing the second time', () => {
    const { renewal, budget } = side(false)
    for (let time = 0; time < 20; time++) renewal.handle(0, renew())
    assert.equal(budget.level(0), 9)
  })
})

test('private keys are overwritten once they have served', () => {
  const drawn: Buffer[] = []
  const random = (length: number) => {
    const bytes = new Prng(drawn.length).bytes(length)
    drawn.push(bytes)
    return bytes
  }
  const world = new TunnelWorld(new Prng(1), { delay: 5 }, 0, { a: { random }, b: { random } })
  assert.ok(world.ready())
  world.run(3 * 3_600_000)
  assert.equal(world.a.core.figures.epoch, 2)
  const keys = drawn.filter(({ length }) => length === 32)
  // one of each side for the tunnel, and for each renewal
  assert.equal(keys.length, 6)
  for (const key of keys) assert.deepEqual(key, Buffer.alloc(32))
})

test('whatever an authentic peer says of upkeep, in whatever order, ends the tunnel at worst', () => {
  const prng = new Prng(9)
  const times = { every: 50, datagrams: 2 ** 32, grace: 200 }
  let [ended, renewed] = [0, 0]
  for (let run = 0; run < 3_000; run++) {
    const initiator = prng.chance(0.5)
    const keys: TunnelKeys = {
      sealer: new Sealer(secret(1)),
      opener: new Opener(secret(2)),
      schedule: new KeySchedule(secret(3), secret(4)),
    }
    const upkeepBudget = new TokenBucket({ burst: prng.integer(0, 3), rate: 5 }, 0)
    const upkeep = new Upkeep(
      { initiator, random: prng.bytes, proves: true, renewalTimes: times, proofTimes: times, upkeepBudget },
      {
        peer: { ephemeral: secret(0), revision: 2, proves: true, time: 0 },
        keys,
        controls: new ControlQueue(),
        counts: () => ({ sent: prng.integer(0, 100), received: 0 }),
        emit: (event) => {
          if (event.name === 'proof-wanted')
            upkeep.signed(0, [{ fingerprint: secret(1), signature: event.bytes(0) }])
        },
        onkeys: () => {},
      },
      0,
    )
    const number = () => (prng.integer(0, 5) === 0 ? Math.floor(prng.float() * 2 ** 53) : prng.integer(0, 3))
    const key = () => (prng.chance(0.1) ? Buffer.alloc(32) : new Ephemeral(prng.bytes).publicKey)
    const say = (): UpkeepFrame => {
      switch (prng.integer(0, 4)) {
        case 0:
          return {
            type: 'renew',
            epoch: number(),
            generation: prng.integer(0, 9) === 0 ? number() : 0,
            key: key(),
          }
        case 1:
          return {
            type: 'renewed',
            epoch: number(),
            generation: prng.integer(0, 9) === 0 ? number() : 0,
            key: key(),
          }
        case 2:
          return { type: 'renewal-wanted', epoch: number() }
        case 3:
          return { type: 'proof-wanted', round: number() }
        default:
          return {
            type: 'proof',
            round: number(),
            epoch: number(),
            time: prng.integer(0, 1e6),
            signatures: [{ fingerprint: secret(1), signature: prng.bytes(prng.integer(0, 512)) }],
          }
      }
    }
    let over: string | undefined
    for (let now = 0; now < 400 && over === undefined; now += prng.integer(0, 20)) {
      over = upkeep.tick(now, 0)
      const [frame] = parseFrames(upkeepBytes(say())) ?? []
      try {
        if (frame && over === undefined) upkeep.handle(now, frame as UpkeepFrame)
      } catch (thrown) {
        assert.ok(thrown instanceof StreamViolation, String(thrown))
        over = thrown.message
      }
    }
    if (over !== undefined) ended++
    if (keys.schedule.epoch > 0) renewed++
    upkeep.wipe()
  }
  assert.ok(ended > 1_000 && renewed > 50, `${ended} ended, ${renewed} renewed`)
})

describe('frames of upkeep', () => {
  const frames: UpkeepFrame[] = [
    { type: 'renew', epoch: 1, generation: 0, key: secret(5) },
    { type: 'renewed', epoch: 300, generation: 2 ** 24 - 1, key: secret(6) },
    { type: 'renewal-wanted', epoch: 70_000 },
    { type: 'proof-wanted', round: 1 },
    {
      type: 'proof',
      round: 2,
      epoch: 25,
      time: 1_800_000_000_000,
      signatures: [
        { fingerprint: secret(1), signature: Buffer.alloc(512, 2) },
        { fingerprint: secret(3), signature: Buffer.alloc(72, 4) },
      ],
    },
  ]

  test('are read as they were written, and fit the smallest path', () => {
    for (const frame of frames) {
      const bytes = upkeepBytes(frame)
      assert.ok(bytes.length <= 1_200 - OVERHEAD)
      const writer = new FrameWriter(Buffer.alloc(1_200), 0, 1_200)
      writer.whole(bytes)
      assert.deepEqual(parseFrames(writer.target.subarray(0, writer.at)), [frame])
    }
  })

  test('cut off anywhere are none', () => {
    for (const frame of frames) {
      const bytes = upkeepBytes(frame)
      for (let end = 1; end < bytes.length; end++) {
        assert.equal(parseFrames(bytes.subarray(0, end)), undefined, `${frame.type} of ${end} bytes`)
      }
    }
  })

  test('from a generation that no packet number has are none', () => {
    for (const generation of [2 ** 24, 2 ** 48, Number.MAX_SAFE_INTEGER]) {
      const bytes = upkeepBytes({ type: 'renew', epoch: 1, generation, key: secret(1) })
      assert.equal(parseFrames(bytes), undefined)
    }
  })

  test('with more signatures than two, or longer ones, are none', () => {
    const one = { fingerprint: secret(1), signature: Buffer.alloc(64) }
    const proof = { type: 'proof', round: 1, epoch: 0, time: 0 } as const
    assert.throws(() => upkeepBytes({ ...proof, signatures: [] }), RangeError)
    assert.throws(() => upkeepBytes({ ...proof, signatures: [one, one, one] }), RangeError)
    const long = { ...one, signature: Buffer.alloc(513) }
    assert.throws(() => upkeepBytes({ ...proof, signatures: [long] }), RangeError)
    const bytes = upkeepBytes({ ...proof, signatures: [one] })
    for (const count of [0, 2, 3, 255]) {
      const changed = Buffer.from(bytes)
      changed[9] = count
      assert.equal(parseFrames(changed), undefined)
    }
  })
})
