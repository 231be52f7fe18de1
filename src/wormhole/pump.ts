import type { Readable, Writable } from 'node:stream'

/**
 * Passes on what is read, and its end, no sooner than it is wanted: with a `readableHighWaterMark` of 0 nothing lies between
 * the two, where `pipe` would keep a block of 64 KB for each of a thousand connections that wait. Errors are for others.
 */
export function pump(from: Readable, to: Writable): void {
  const turn = () => {
    while (!to.writableNeedDrain && !to.destroyed && !to.writableEnded) {
      const block: unknown = from.read()
      if (block === null) return
      to.write(block)
    }
  }
  from.on('readable', turn)
  to.on('drain', turn)
  from.once('end', () => to.end())
}
