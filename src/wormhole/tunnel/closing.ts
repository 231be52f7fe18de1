import { CLOSE_REPEAT, CLOSE_TRIES } from './timing.js'

/** How a side says that it ends the tunnel: a few times, or until the peer has answered. */
export class Closing {
  readonly sentence: string
  #tries = 0
  /** When it is to be said again, in ms. */
  nextAt: number

  constructor(sentence: string, now: number) {
    this.sentence = sentence
    this.nextAt = now
  }

  /**
   * What is to be done now: say it, or leave without an answer.
   * @param timeout after which an answer is missing, in ms
   */
  step(now: number, timeout: number): 'wait' | 'say' | 'leave' {
    if (now < this.nextAt) return 'wait'
    if (this.#tries === CLOSE_TRIES) return 'leave'
    this.#tries++
    this.nextAt = now + Math.min(timeout, CLOSE_REPEAT) * this.#tries
    return 'say'
  }
}
