import type { ControlQueue } from './control.js'
import { CHALLENGE_LENGTH } from './frame.js'

/** Answers to challenges that wait at once: an honest peer asks for one at a time. */
const MAX_RESPONSES = 8

/** The answers to the peer's challenges, each repeated until the peer has it. */
export class Responses {
  readonly #controls: ControlQueue
  #waiting = 0

  constructor(controls: ControlQueue) {
    this.#controls = controls
  }

  add(challenge: Buffer): void {
    if (this.#waiting >= MAX_RESPONSES) return
    this.#waiting++
    let waiting = true
    const value = Buffer.from(challenge)
    this.#controls.add({
      length: 1 + CHALLENGE_LENGTH,
      write: (writer) => {
        if (waiting) this.#waiting--
        waiting = false
        writer.response(value)
      },
      wanted: () => true,
    })
  }
}
