/** When a state machine wants to be called next, and why. `Why` names what it may wait for. */
export interface Due<Why extends string = string> {
  /** ms on its clock; Infinity for never. */
  readonly at: number
  /** What is to be done then: for a log, and for whoever wonders what a side is waiting for. */
  readonly why: Why | 'never'
}

/** Nothing is left to do. */
export const NEVER: Due<never> = { at: Number.POSITIVE_INFINITY, why: 'never' }

/** The first of several; of two at one time the one that is named first. NEVER if there is none. */
export function earliest<Why extends string>(...all: readonly Due<Why>[]): Due<Why> {
  let next: Due<Why> = NEVER
  for (const due of all) if (due.at < next.at) next = due
  return next
}
