/**
 * What the sending side of a tunnel costs when the peer means no good: an acknowledgement of one packet while many are
 * under way, a datagram while many control frames wait, and what a stream keeps whose first byte is never acknowledged.
 *
 *     node dist/bench/send-side.js [checkout]
 *
 * `checkout` is a directory with another version, built, to be measured in place of this one.
 */
import { fileURLToPath } from 'node:url'

const root = process.argv[2] ?? fileURLToPath(new URL('../..', import.meta.url))
const part = async (name: string) => await import(`${root}/dist/src/wormhole/tunnel/${name}.js`)
const [{ Ledger }, { Congestion }, { RoundTrip }, { ControlQueue }, { FrameWriter }, { SendHalf }] =
  await Promise.all(['ledger', 'congestion', 'round-trip', 'control', 'frame', 'send-half'].map(part))

const STATE = { delivered: 0, deliveredAt: 0, firstSentAt: 0, appLimited: true }

/** µs for one call, the median of several series. */
function micros(calls: number, call: (index: number) => void): number {
  const series = [1, 2, 3, 4, 5, 6, 7].map((series) => {
    const began = performance.now()
    for (let index = 0; index < calls; index++) call(series * calls + index)
    return ((performance.now() - began) * 1000) / calls
  })
  return series.sort((a, b) => a - b)[3] as number
}

for (const underWay of [100, 10_000, 30_000]) {
  const ledger = new Ledger(new RoundTrip(), new Congestion(1200))
  for (let packet = 0; packet < underWay; packet++) {
    const rest = {
      acknowledges: -1,
      probe: false,
      resent: false,
      place: 0,
      before: undefined,
      after: undefined,
    }
    ledger.add({ packet, size: 1200, sentAt: 0, deliveries: [], state: STATE, ...rest })
  }
  // each names 64 packets near the newest, most of them known already
  const top = underWay - 1
  const ranges = Array.from({ length: 48 }, (_, index) => [top - 2 * index, top - 2 * index])
  const cost = micros(1000, () => ledger.acknowledge(0, ranges, 0))
  console.log(`an acknowledgement of 48 ranges, ${underWay} packets under way: ${cost.toFixed(1)} µs`)
}

const target = Buffer.alloc(1400)
for (const waiting of [100, 60_000]) {
  const queue = new ControlQueue()
  const add = () =>
    queue.add({
      length: 17,
      write: (writer: { window(id: number, limit: number): void }) => writer.window(1, 2),
      wanted: () => true,
    })
  for (let count = 0; count < waiting; count++) add()
  const cost = micros(20, () => {
    for (let count = 0; count < 80; count++) add()
    queue.write(new FrameWriter(target, 0, target.length), [])
  })
  console.log(`a datagram of control frames, ${waiting} wait: ${cost.toFixed(1)} µs`)
}

const send = new SendHalf(Number.MAX_SAFE_INTEGER)
const block = Buffer.alloc(64 * 1024)
const most = 64 * 2 ** 20
let kept = 0
for (let written = 0; written < most; written += block.length) {
  send.write(block)
  for (let piece = send.ready ? send.take(1200) : undefined; piece; ) {
    if (piece.offset > 0) send.acked(piece)
    kept = piece.offset + piece.length
    piece = send.ready ? send.take(1200) : undefined
  }
}
console.log(
  `of ${most >> 20} MiB that were written, ${(kept / 2 ** 20).toFixed(0)} MiB were sent and are kept for one byte`,
)
