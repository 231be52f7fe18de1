import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HEADER_LENGTH, Opener, TAG_LENGTH } from '../../src/wormhole/tunnel/cipher.js'
import { Connection } from '../../src/wormhole/tunnel/connection.js'
import { FrameWriter } from '../../src/wormhole/tunnel/frame.js'
import { Greeter } from '../../src/wormhole/tunnel/greeting.js'
import { Handshake } from '../../src/wormhole/tunnel/handshake.js'
import { PacketNumbers } from '../../src/wormhole/tunnel/packet-numbers.js'
import { Prng } from './prng.js'
import { ADDRESS, KEY } from './tunnel.js'

const MIB = 2 ** 20
/** The link between the two, in bytes per ms, what waits before it, and its delay one way. */
const RATE = 1_000
const QUEUE = 30_000
const DELAY = 10

/**
 * A side sends to a peer behind 8 Mbit/s that acknowledges what never came.
 * @param ahead so many numbers beyond the highest that came are acknowledged too
 * @returns the most that was sent within 100 ms, in bytes, and how it ended
 */
function attacked(seed: number, ahead: number): { most: number; state: string } {
  const prng = new Prng(seed)
  const { bytes: random } = prng
  const victim = new Connection({ initiator: false, key: KEY, remote: ADDRESS.a, random }, 0)
  const handshake = new Handshake(
    { initiator: true, random, remote: ADDRESS.b },
    new Greeter({ initiator: true, key: KEY, random }),
    0,
  )
  handshake.tick(0)
  for (const { data } of handshake.transmits()) victim.receive(0, data, ADDRESS.a)
  const answers: Buffer[] = []
  victim.transmit(0, (data) => answers.push(data))
  const [outcome] = answers
    .map((data) => handshake.receive(0, data, ADDRESS.b))
    .filter(({ name }) => name === 'done')
  assert.ok(outcome?.name === 'done')
  const { sealer } = outcome.keys
  if (outcome.confirmation) victim.receive(0, outcome.confirmation(), ADDRESS.a)
  let number = 0
  const say = (now: number, write: (writer: FrameWriter) => void) => {
    const datagram = Buffer.alloc(100)
    const writer = new FrameWriter(datagram, HEADER_LENGTH, datagram.length - TAG_LENGTH)
    write(writer)
    writer.pad()
    sealer.seal(datagram, number++)
    victim.receive(now, datagram, ADDRESS.a)
  }
  say(0, (writer) => writer.ping())
  const stream = victim.streams.open(Buffer.from('x'))
  for (let count = 0; count < 200; count++) stream.write(Buffer.alloc(MIB))
  say(0, (writer) => writer.window(stream.id, 2 ** 40))

  const arriving: { at: number; packet: number }[] = []
  let busyUntil = 0
  let highest = 0
  const sent: number[] = []
  for (let now = 0; now < 4_000 && victim.state === 'open'; now += 0.5) {
    let came = false
    while ((arriving[0]?.at ?? Number.POSITIVE_INFINITY) <= now) {
      came = true
      highest = Math.max(highest, arriving.shift()?.packet ?? 0)
    }
    if (came) say(now, (writer) => writer.ack(1, () => [highest + ahead, 0], 0))
    victim.tick(now)
    const send = (data: Buffer) => {
      const hundredth = Math.floor(now / 100)
      sent[hundredth] = (sent[hundredth] ?? 0) + data.length
      const packet = Opener.packetOf(data)
      busyUntil = Math.max(busyUntil, now)
      if (packet === undefined || (busyUntil - now) * RATE > QUEUE) return
      busyUntil += data.length / RATE
      arriving.push({ at: busyUntil + 2 * DELAY, packet })
    }
    while (victim.transmit(now, send));
  }
  return { most: Math.max(...sent.filter((bytes) => bytes !== undefined)), state: victim.state }
}

test('a peer that acknowledges what it never got is found out before it makes a flood of it', () => {
  for (let seed = 0; seed < 20; seed++) {
    for (const ahead of [0, 8]) {
      const { most, state } = attacked(seed, ahead)
      const times = most / (100 * RATE)
      assert.equal(state, 'over')
      assert.ok(times < 8, `seed ${seed}, ${ahead} ahead: ${(times * 8).toFixed(0)} Mbit/s into 8`)
    }
  }
})

test('numbers are skipped at random, and an acknowledgement of one of them is known for a lie', () => {
  const numbers = new PacketNumbers(new Prng(1).bytes, 0)
  const used = new Set<number>()
  for (let count = 0; count < 5_000; count++) used.add(numbers.take(count))
  const skipped = Array.from({ length: numbers.next }, (_, number) => number).filter((n) => !used.has(n))
  assert.ok(skipped.length > 20 && skipped.length < 100, `${skipped.length} skipped of ${numbers.next}`)
  const gaps = new Set(skipped.map((number, index) => number - (skipped[index - 1] ?? 0)))
  assert.ok(gaps.size > skipped.length / 2, 'nobody can tell which')
  const [last = 0] = skipped.slice(-1)
  assert.ok(!numbers.lied([[last - 1, last - 1]]) && !numbers.lied([[numbers.next - 1, last + 1]]))
  assert.ok(numbers.lied([[last, last]]) && numbers.lied([[numbers.next - 1, 0]]))
  assert.ok(numbers.lied([[numbers.next, numbers.next]]), 'nor may a number come that is still to be used')
})

test('a change of keys skips the rest of its numbers, and none of those can be acknowledged', () => {
  const numbers = new PacketNumbers(new Prng(2).bytes, 0)
  const before = numbers.take(0)
  const after = numbers.take(3_600_001)
  assert.equal(after, 2 ** 24)
  assert.ok(
    !numbers.lied([
      [after, after],
      [before, before],
    ]),
  )
  assert.ok(numbers.lied([[after - 5, after - 5]]))
  assert.ok(numbers.lied([[after, before]]))
})
