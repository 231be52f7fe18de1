import type { ErrorCode } from '../errors/index.js'

/** How a pairing went, for a program: plain data without secrets, what `--result` writes. */
export interface Outcome {
  readonly paired: boolean
  /** Why the pairing, or the start of its command, failed; null if neither did. */
  readonly code: ErrorCode | null
  readonly sentence: string | null
  readonly advice: string | null
  /** The session's id; null if it came to none. */
  readonly session: string | null
  readonly addresses: { readonly inner: string; readonly outer: string; readonly peer: string } | null
  /** `owner/pin`, null if nobody was named. */
  readonly peer: string | null
  /** The exit code of the command, 128 and its number for a signal; null while it runs, and without one. */
  readonly exit: number | null
}
