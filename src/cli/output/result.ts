import { randomBytes } from 'node:crypto'
import { closeSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { PlexusError } from '../../errors/index.js'
import { type Output, openOutput, placeAt, tryOutput, whyUnwritable } from '../../files/index.js'
import type { Logger } from '../../net/index.js'
import { type Outcome, watch } from '../../watch/index.js'
import type { Values } from '../flags/values.js'

/**
 * The file of `--result`: one JSON object, replaced as a whole, so that a reader never sees half of it. What is no file (`-` and
 * `/dev/stdout`, a pipe, a device) is never replaced: it is given a line for each outcome.
 */
export class ResultFile {
  readonly #path: string
  /** Of a pipe, whose reader would take a second opening for an end between the two. */
  readonly #pipe: Output | undefined
  #state: 'empty' | 'written' = 'empty'

  private constructor(path: string, pipe: Output | undefined) {
    this.#path = path
    this.#pipe = pipe
  }

  /**
   * @param options.hold whether a pipe is opened already; not for a mere look
   * @throws PlexusError BAD_FLAG if nothing can be written there
   */
  static of(values: Values, { hold = true } = {}): ResultFile | undefined {
    const given = values.path('result')
    if (given === undefined) return undefined
    const path = given === '-' ? '/dev/stdout' : given
    if (values.label('stdio') !== undefined && path === '/dev/stdout')
      throw new PlexusError('BAD_FLAG', '--result is standard output, and so is the connection of --stdio.', {
        advice: 'Give --result a file.',
      })
    try {
      tryOutput(path)
      const place = placeAt(path)
      if (place.is === 'file') probe(place.path)
      return new ResultFile(path, place.is === 'pipe' && hold ? openOutput(path) : undefined)
    } catch (cause) {
      throw new PlexusError('BAD_FLAG', `The file of --result: ${whyUnwritable(path, cause)}.`, {
        advice: 'Give --result a file in a directory that this user may write, or - for standard output.',
        cause,
      })
    }
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
    try {
      // asked anew: it may be something else by now
      const place = placeAt(this.#path)
      if (place.is === 'file') replace(place.path, `${JSON.stringify(outcome, undefined, 2)}\n`)
      else tell(this.#path, this.#pipe, `${JSON.stringify(outcome)}\n`)
    } catch (thrown) {
      log?.warn({ err: thrown }, `the result could not be written: ${whyUnwritable(this.#path, thrown)}`)
    }
  }
}

/** A draft beside a file, under a name that nobody can guess. */
function draftOf(path: string): string {
  return `${path}.${randomBytes(6).toString('hex')}`
}

/** Whether a draft can be made beside it, so that this is not found out after the pairing. */
function probe(path: string): void {
  const draft = draftOf(path)
  closeSync(openSync(draft, 'wx', 0o600))
  rmSync(draft)
}

function replace(path: string, text: string): void {
  const draft = draftOf(path)
  try {
    writeFileSync(draft, text, { mode: 0o600, flag: 'wx' })
    renameSync(draft, path)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown
  }
}

function tell(path: string, pipe: Output | undefined, line: string): void {
  if (pipe) {
    writeSync(pipe.fd, line)
    return
  }
  if (path === '/dev/stdout') {
    // in its turn, behind what was printed before
    process.stdout.write(line)
    return
  }
  const output = openOutput(path)
  try {
    writeSync(output.fd, line)
  } finally {
    output.close()
  }
}
