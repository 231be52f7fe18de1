/** Cuts what a process prints into lines of bounded length. */
export class Lines {
  readonly #most: number
  readonly #line: (text: string) => void
  readonly #long: (start: string) => void
  #begun = ''
  #state: 'reading' | 'skipping' = 'reading'

  /**
   * @param most bytes of the longest line
   * @param line takes each line, without its end
   * @param long takes the start of a line that is longer; the rest of it is thrown away as it comes
   */
  constructor(most: number, line: (text: string) => void, long: (start: string) => void) {
    this.#most = most
    this.#line = line
    this.#long = long
  }

  push(data: Buffer): void {
    let rest = data.toString('latin1')
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      this.#add(rest.slice(0, end))
      this.end()
      rest = rest.slice(end + 1)
    }
    this.#add(rest)
  }

  /** What was begun is a line too. */
  end(): void {
    const line = this.#begun
    const state = this.#state
    this.#begun = ''
    this.#state = 'reading'
    if (state === 'reading' && line !== '') this.#line(line)
  }

  #add(part: string): void {
    if (this.#state === 'skipping') return
    this.#begun += part
    if (this.#begun.length <= this.#most) return
    this.#state = 'skipping'
    this.#long(this.#begun.slice(0, this.#most))
    this.#begun = ''
  }
}
