import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { codeOf, codeWord } from '../../src/errors/index.js'
import { checkProgram } from '../../src/files/index.js'
import { type Clock, sleep } from '../../src/net/index.js'
import { Lines } from './lines.js'
import type { Variables } from './variables.js'

/** How a run ended. `unstartable` never ran; the rest ran, and nothing of them runs any more. */
export type Ending =
  | { readonly is: 'exited'; readonly code: number }
  | { readonly is: 'killed'; readonly by: NodeJS.Signals }
  | { readonly is: 'unstartable'; readonly why: string }

/** Bytes of a line of standard output: a message in base64. */
export const MAX_LINE = 65_536
/** Bytes of a line of standard error that are kept. */
const MAX_WORDS = 400
/** How long what was sent SIGTERM may take before it is sent SIGKILL, in ms: who closes a rendezvous waits for it. */
const GRACE = 1000

export interface RunOptions {
  readonly clock: Clock
  /** What the command is asked to do: its one argument. */
  readonly verb: 'post' | 'receive'
  readonly environment: Variables
  /** What it reads; without it standard input stays open, and silent, for as long as this program lives. */
  readonly input?: string
  /** Takes each line of standard output, none of them after the signal aborted. */
  readonly onLine: (line: string) => void
  /** Takes the start of a line that is longer than MAX_LINE. */
  readonly onLong: (start: string) => void
  /** Takes each line of standard error, cut off where it is long. */
  readonly onWords: (words: string) => void
  /** Ends the run. */
  readonly signal: AbortSignal
}

/** One run of a command, without a shell, in a process group of its own which ends with it. */
export class Run {
  /** Resolves with whether the system runs it. */
  readonly started: Promise<boolean>
  /** Resolves when all of it is gone; never rejects. */
  readonly ended: Promise<Ending>
  readonly #clock: Clock

  constructor(file: string, options: RunOptions) {
    this.#clock = options.clock
    let child: ChildProcessWithoutNullStreams
    try {
      checkProgram(file) // it may have been replaced since the start
      child = spawn(file, [options.verb], { env: options.environment, shell: false, detached: true })
    } catch (thrown) {
      // a zero byte in the environment, for one, is told at once
      this.started = Promise.resolve(false)
      this.ended = Promise.resolve({ is: 'unstartable', why: codeWord(thrown) })
      return
    }
    const spawned = new Promise<Ending | undefined>((resolve) => {
      child.once('spawn', () => resolve(undefined))
      child.once('error', (thrown) => resolve({ is: 'unstartable', why: codeWord(thrown) }))
    })
    const exited = new Promise<Ending>((resolve) =>
      child.once('exit', (code, by) =>
        resolve(by ? { is: 'killed', by } : { is: 'exited', code: code ?? 0 }),
      ),
    )
    const closed = once(child, 'close')
    closed.catch(() => {}) // it could not be started: that is told by its 'error'
    // node makes no pipes when the system has no descriptors left: its 'error' tells
    if ((child as ChildProcess).stdout) this.#connect(child, options)
    this.started = spawned.then((unstartable) => unstartable === undefined)
    this.ended = spawned.then(
      (unstartable) => unstartable ?? this.#supervise(child, exited, closed, options.signal),
    )
  }

  #connect(child: ChildProcessWithoutNullStreams, options: RunOptions): void {
    const { input, signal, onLine, onLong, onWords } = options
    const output = new Lines(
      MAX_LINE,
      (line) => signal.aborted || onLine(line),
      (start) => signal.aborted || onLong(start),
    )
    const words = new Lines(MAX_WORDS, onWords, onWords)
    child.stdout.on('data', (data: Buffer) => output.push(data)).on('end', () => output.end())
    child.stderr.on('data', (data: Buffer) => words.push(data)).on('end', () => words.end())
    child.stdin.on('error', () => {}) // it need not read, and how it ends tells all that is to be known
    if (input !== undefined) child.stdin.end(input)
  }

  async #supervise(
    child: ChildProcessWithoutNullStreams,
    exited: Promise<Ending>,
    closed: Promise<unknown>,
    signal: AbortSignal,
  ): Promise<Ending> {
    const pid = child.pid as number // it was spawned, so it has one
    let cancel = () => {}
    const onabort = () => {
      signalGroup(pid, 'SIGTERM')
      cancel = this.#clock.timer(GRACE, () => signalGroup(pid, 'SIGKILL'))
    }
    signal.addEventListener('abort', onabort, { once: true })
    if (signal.aborted) onabort()
    const ending = await exited
    signal.removeEventListener('abort', onabort)
    cancel()
    child.stdin.destroy()
    // what it left behind goes with it; as long as that holds the pipes it may end by itself
    if (signalGroup(pid, 'SIGTERM')) {
      await this.#patiently(closed)
      signalGroup(pid, 'SIGKILL')
    }
    // what has left the group may hold them for ever
    await this.#patiently(closed)
    child.stdout.destroy()
    child.stderr.destroy()
    return ending
  }

  /** Waits for a promise, but no longer than GRACE. */
  async #patiently(promise: Promise<unknown>): Promise<void> {
    const waiting = new AbortController()
    await Promise.race([promise, sleep(this.#clock, GRACE, waiting.signal).catch(() => {})])
    waiting.abort()
  }
}

/** @returns false if the group has no process any more */
function signalGroup(leader: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-leader, signal)
  } catch (thrown) {
    return codeOf(thrown) !== 'ESRCH'
  }
}
