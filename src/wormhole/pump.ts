import type { Readable, Writable } from 'node:stream'
import type { Intake } from './intake.js'

/**
 * Passes on what is read, and its end, no sooner than it is wanted: with a `readableHighWaterMark` of 0 nothing lies between
 * the two, where `pipe` would keep a block of 64 KB for each of a thousand connections that wait. Errors are for others.
 * @param intake what may be read of all such connections at once
 */
export function pump(from: Readable, to: Writable, intake?: Intake): void {
  let state: 'waiting' | 'reading' = 'waiting'
  const turn = () => {
    if (state === 'waiting') return begin()
    while (!to.writableNeedDrain && !to.destroyed && !to.writableEnded) {
      // what has come already is in memory
      if (from.readableLength === 0 && seat?.take() === false) return
      const block: Buffer | null = from.read()
      if (block === null) {
        seat?.empty()
        return
      }
      const taken = to.write(block)
      seat?.full(block.length, taken)
    }
  }
  const seat = intake?.seat(turn)
  const begin = () => {
    if (seat?.take() === false) return
    state = 'reading'
    from.on('readable', turn)
  }
  to.on('drain', () => {
    seat?.drained()
    turn()
  })
  from.once('end', () => to.end())
  if (seat) for (const end of [from, to]) end.once('close', seat.leave)
  begin()
}
