import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { describe, test } from 'node:test'
import { TokenBucket } from '../../src/net/index.js'
import type { ConnectionEvent, ConnectionOptions } from '../../src/wormhole/tunnel/connection-state.js'
import { UPKEEP_LIMIT } from '../../src/wormhole/tunnel/upkeep-budget.js'
import type { ProofSignature } from '../../src/wormhole/tunnel/upkeep-frame.js'
import { Prng } from './prng.js'
import {
  DATE,
  sinks,
  type TunnelSide,
  type TunnelWeather,
  TunnelWorld,
  type TunnelWorldOptions,
} from './tunnel.js'

const HOUR = 3_600_000
const MINUTE = 60_000
const FINGERPRINT = Buffer.alloc(32, 1)

/** Both sides can prove who they are. */
const PROVE: Partial<ConnectionOptions> = { proves: true }

/** What a side signs with, how long that takes in ms, and what it has seen of the other one. */
class Prover {
  readonly publicKey: KeyObject
  privateKey: KeyObject
  readonly signed: Buffer[] = []
  judged = 0
  good = 0

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.publicKey = publicKey
    this.privateKey = privateKey
  }

  sign(bytes: Buffer): ProofSignature[] {
    this.signed.push(bytes)
    return [{ fingerprint: FINGERPRINT, signature: sign('sha256', bytes, this.privateKey) }]
  }
}

/** A tunnel whose sides prove themselves: with real signatures, in virtual time. */
class ProvingWorld extends TunnelWorld {
  readonly provers: Record<'a' | 'b', Prover>
  /** How long a signature and a verdict take, in ms. */
  slow = 0
  /** Whoever is named here signs nothing. */
  mute: 'a' | 'b' | undefined

  constructor(seed: number, weather: TunnelWeather, options: TunnelWorldOptions = { a: PROVE, b: PROVE }) {
    super(new Prng(seed), weather, 0, options)
    this.provers = { a: new Prover(), b: new Prover() }
    for (const side of [this.a, this.b]) side.onevent = (event) => this.heard(side, event)
  }

  heard(side: TunnelSide, event: ConnectionEvent): void {
    const [own, peer] = [this.provers[side.name], this.provers[side === this.a ? 'b' : 'a']]
    if (event.name === 'proof-wanted' && this.mute !== side.name) {
      this.at(this.now + this.slow, () => {
        const time = DATE + this.now
        side.core.proofs?.signed(time, own.sign(event.bytes(time)))
        this.pump(side)
      })
    }
    if (event.name === 'proof') {
      own.judged++
      const good = event.signatures.some(({ signature }) =>
        verify('sha256', event.bytes, peer.publicKey, signature),
      )
      this.at(this.now + this.slow, () => {
        if (good) {
          own.good++
          side.core.proofs?.judged(this.now)
        } else side.core.fail(this.now, 'The proof is not signed.', 'Your proof was not accepted.')
        this.pump(side)
      })
    }
  }

  get proofs(): [number, number] {
    return [this.provers.a.good, this.provers.b.good]
  }

  get alive(): boolean {
    return !this.a.has('over') && !this.b.has('over')
  }
}

describe('the identities of an open tunnel', () => {
  test('are proven anew every twelve hours, in both directions, each time over something else', () => {
    const world = new ProvingWorld(1, { delay: 30 })
    assert.ok(world.ready())
    world.run(12 * HOUR - MINUTE)
    assert.deepEqual(world.proofs, [0, 0])
    world.run(2 * MINUTE)
    assert.deepEqual(world.proofs, [1, 1])
    world.run(12 * HOUR + MINUTE)
    assert.deepEqual(world.proofs, [2, 2])
    assert.ok(world.alive)
    const { a, b } = world.provers
    const signed = [...a.signed, ...b.signed].map((bytes) => bytes.toString('hex'))
    assert.equal(new Set(signed).size, 4)
    assert.ok(
      a.signed.every((bytes) => bytes.toString('latin1').startsWith('plexus 4 tunnel proof initiator\0')),
    )
    assert.ok(
      b.signed.every((bytes) => bytes.toString('latin1').startsWith('plexus 4 tunnel proof responder\0')),
    )
  })

  for (const [name, weather] of [
    ['loss', { delay: 20, loss: 0.1 }],
    ['reordering and copies', { delay: 20, jitter: 40, duplication: 0.3 }],
  ] as [string, TunnelWeather][]) {
    test(`are proven under ${name}, while keys are renewed and bytes go through`, () => {
      const often = {
        proves: true,
        proofTimes: { every: 300, grace: 10_000 },
        renewalTimes: { every: 200, datagrams: 2 ** 32, grace: 10_000 },
        upkeepBudget: new TokenBucket({ burst: 1e6, rate: 1e6 }, 0),
      }
      const world = new ProvingWorld(2, weather, { a: often, b: often })
      world.slow = 30
      assert.ok(world.ready(20_000))
      const data = new Prng(3).bytes(2 ** 20)
      const prove = world.b.onevent
      const read = sinks(world, world.b)
      const take = world.b.onevent
      world.b.onevent = (event) => {
        prove?.(event)
        take?.(event)
      }
      const stream = world.a.core.streams.open(Buffer.from('x'))
      stream.write(data)
      stream.end()
      world.pump(world.a)
      world.run(20_000)
      assert.ok(read.get(stream.id)?.bytes.equals(data))
      assert.ok(world.alive)
      assert.ok(Math.min(...world.proofs) > 20, `${world.proofs}`)
      assert.ok(world.a.core.figures.epoch > 20)
    })
  }

  test('whichever of a proof’s datagrams is lost, it comes about', () => {
    for (let lost = 0; lost < 12; lost++) {
      const world = new ProvingWorld(
        4,
        { delay: 20 },
        {
          a: { ...PROVE, proofTimes: { every: 60_000, grace: 10_000 } },
          b: { ...PROVE, proofTimes: { every: 61_000, grace: 10_000 } },
        },
      )
      assert.ok(world.ready())
      world.run(59_900)
      let count = 0
      world.onpassing = () => count++ !== lost
      world.run(9_000)
      assert.deepEqual(world.proofs, [1, 1], `without datagram ${lost}`)
    }
  })

  test('are proven only where both sides can do so', () => {
    for (const other of [{}, { revision: 1, proves: true }]) {
      for (const side of ['a', 'b'] as const) {
        const world = new ProvingWorld(5, { delay: 20 }, { a: PROVE, b: PROVE, [side]: other })
        assert.ok(world.ready())
        world.run(13 * HOUR)
        assert.deepEqual(world.proofs, [0, 0])
        assert.ok(world.alive)
      }
    }
  })

  test('a side that asks gets a proof, though the clock of the other one has hardly moved', () => {
    const never = { ...PROVE, proofTimes: { every: Number.POSITIVE_INFINITY, grace: 1 } }
    const world = new ProvingWorld(6, { delay: 20 }, { a: PROVE, b: never })
    assert.ok(world.ready())
    world.run(25 * HOUR)
    assert.deepEqual(world.proofs, [2, 0])
  })

  test('a machine that slept for thirteen hours has time to prove itself', () => {
    const world = new ProvingWorld(7, { delay: 20 })
    assert.ok(world.ready())
    world.run(5_000)
    world.sleep(13 * HOUR)
    // its disk has to spin up
    world.slow = 60_000
    world.run(10 * MINUTE)
    assert.deepEqual(world.proofs, [1, 1])
    assert.ok(world.alive)
    // and one that falls asleep while it is asked
    world.run(12 * HOUR - 6 * MINUTE)
    world.slow = 5_000
    while (world.provers.a.judged + world.provers.b.judged === 2) world.run(100)
    world.sleep(13 * HOUR)
    world.run(10 * MINUTE)
    assert.ok(world.alive)
  })
})

describe('a peer that does not prove itself', () => {
  test('is ended with a sentence after ten minutes', () => {
    for (const mute of ['a', 'b'] as const) {
      const world = new ProvingWorld(10, { delay: 20 })
      world.mute = mute
      assert.ok(world.ready())
      const other = world[mute === 'a' ? 'b' : 'a']
      world.run(12 * HOUR + 9 * MINUTE)
      assert.ok(world.alive)
      world.run(2 * MINUTE)
      const sentence = 'The peer did not prove its identity again in time.'
      assert.deepEqual(other.events.at(-1), { name: 'over', ending: { name: 'failed', sentence } })
      assert.deepEqual(world[mute].events.at(-1), { name: 'over', ending: { name: 'peer-closed', sentence } })
    }
  })

  test('but signs with another key, is ended at once', () => {
    const world = new ProvingWorld(11, { delay: 20 })
    world.provers.b.privateKey = new Prover().privateKey
    assert.ok(world.ready())
    world.run(12 * HOUR + MINUTE)
    const ending = { name: 'failed', sentence: 'The proof is not signed.' }
    assert.deepEqual(world.a.events.at(-1), { name: 'over', ending })
    assert.ok(world.b.has('over'))
  })

  test('nor can one in the middle who has the shared key: the two sides sign something else', () => {
    // two tunnels under one key, each side in good faith; what one signs is carried into the other one
    const [near, far] = [new ProvingWorld(12, { delay: 20 }), new ProvingWorld(13, { delay: 20 })]
    assert.ok(near.ready() && far.ready())
    near.run(12 * HOUR + MINUTE)
    far.run(12 * HOUR + MINUTE)
    const { signed, publicKey, privateKey } = near.provers.a
    const [bytes, wanted] = [signed[0], far.provers.a.signed[0]]
    assert.ok(bytes && wanted)
    assert.ok(!bytes.subarray(-32).equals(wanted.subarray(-32)), 'what only two know differs')
    const signature = sign('sha256', bytes, privateKey)
    assert.ok(verify('sha256', bytes, publicKey, signature))
    assert.ok(!verify('sha256', wanted, publicKey, signature))
  })
})

describe('a peer that wants proofs without end', () => {
  test('gets as many as one identity may have', () => {
    const greedy = {
      ...PROVE,
      proofTimes: { every: 1, grace: HOUR },
      upkeepBudget: new TokenBucket({ burst: 1e6, rate: 1e6 }, 0),
    }
    for (const attacker of ['a', 'b'] as const) {
      const victim = attacker === 'a' ? 'b' : 'a'
      const world = new ProvingWorld(20, { delay: 5 }, { [attacker]: greedy, [victim]: PROVE })
      assert.ok(world.ready())
      world.run(MINUTE)
      const signed = world.provers[victim].signed.length
      assert.ok(signed >= UPKEEP_LIMIT.burst, `${signed}`)
      assert.ok(signed <= UPKEEP_LIMIT.burst + UPKEEP_LIMIT.rate * 60 + 1, `${signed} signatures`)
      assert.ok(world.alive)
    }
  })
})
