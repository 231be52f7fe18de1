import { accessSync, constants, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Logger } from '../../net/index.js'
import { type Outcome, watch } from '../../watch/index.js'
import type { Values } from '../flags/values.js'

/** The file of `--result`: one JSON object, replaced as a whole, so that a reader never sees half of it. */
export class ResultFile {
  readonly #path: string
  #state: 'empty' | 'written' = 'empty'

  private constructor(path: string) {
    this.#path = path
  }

  /** @throws PlexusError BAD_FLAG if no file can be made there */
  static of(values: Values): ResultFile | undefined {
    const path = values.path('result')
    if (path === undefined) return undefined
    try {
      accessSync(dirname(resolve(path)), constants.W_OK)
    } catch (cause) {
      throw values.wrong('result', 'a file in a directory that this user may write', cause)
    }
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
      throw values.wrong('result', 'a file, not a directory')
    }
    return new ResultFile(resolve(path))
  }

  /** Writes how each pairing goes, until the returned function is called; of one that a newer has replaced it says no more. */
  follow(): () => void {
    return watch('plexus:pairing', ({ event, log }) => {
      if (event.name === 'outcome' && !event.superseded) this.write(event.outcome, log)
    })
  }

  /** Writes what is to be told if no pairing has been. */
  unlessWritten(outcome: Outcome): void {
    if (this.#state === 'empty') this.write(outcome)
  }

  /** Writes it, for its owner alone (0600). A file that cannot be written must not end a pairing: the log tells of it. */
  write(outcome: Outcome, log?: Logger): void {
    this.#state = 'written'
    const draft = `${this.#path}.${process.pid}`
    try {
      rmSync(draft, { force: true })
      writeFileSync(draft, `${JSON.stringify(outcome, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' })
      renameSync(draft, this.#path)
    } catch (thrown) {
      log?.warn({ err: thrown }, 'the file of --result could not be written')
    }
  }
}
