import type { Logger } from '../../src/net/index.js'

/** A log that a test can read. */
export class MemoryLog implements Logger {
  readonly lines: string[]
  readonly fields: object
  readonly #waiting: Set<() => void>

  constructor(lines: string[] = [], fields: object = {}, waiting: Set<() => void> = new Set()) {
    this.lines = lines
    this.fields = fields
    this.#waiting = waiting
  }

  #add(level: string, fields: object, message: string): void {
    this.lines.push(`${level} ${message} ${JSON.stringify({ ...this.fields, ...fields })}`)
    for (const wake of [...this.#waiting]) wake()
  }

  trace(_fields: object, _message: string): void {}
  debug(fields: object, message: string): void {
    this.#add('debug', fields, message)
  }
  info(fields: object, message: string): void {
    this.#add('info', fields, message)
  }
  warn(fields: object, message: string): void {
    this.#add('warn', fields, message)
  }
  error(fields: object, message: string): void {
    this.#add('error', fields, message)
  }
  child(fields: object): Logger {
    return new MemoryLog(this.lines, { ...this.fields, ...fields }, this.#waiting)
  }

  /** How many lines match. */
  count(pattern: RegExp): number {
    return this.lines.filter((line) => pattern.test(line)).length
  }

  /** Resolves when `count` lines match. */
  until(pattern: RegExp, count = 1): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.count(pattern) < count) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }
}
