import { randomBytes } from 'node:crypto'
import type { Clock, Random } from '../net/index.js'

/** The real clock: the one place where it is read. The command line and the library pass it on as a value. */
export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  timer(ms, callback) {
    const handle = setTimeout(callback, Math.max(0, ms))
    return () => clearTimeout(handle)
  },
}

/** The system's randomness. */
export const systemRandom: Random = (length) => randomBytes(length)
