import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import type { Clock, Logger } from '../net/index.js'
import { Ending, type EndingSignal } from './ending.js'
import type { KeyFile } from './key-file.js'
import { ProcessGroup } from './process-group.js'

/** How a command ended: with an exit code, or by a signal. */
export type Exit =
  | { readonly code: number; readonly signal: null }
  | { readonly code: null; readonly signal: NodeJS.Signals }

/** What runs on a passage: a command, or something within this program. */
export interface Running {
  /** Resolves when it has ended, and what it held is free; never rejects. */
  readonly exited: Promise<Exit>
  /** Asks it to end, and sees to it. Resolves when it has. */
  stop(first?: EndingSignal): Promise<void>
}

/** A command that was started. */
export interface Child extends Running {
  readonly pid: number
  /**
   * Resolves when the command has ended and its key file is gone, and, if it was asked to end, when its whole process
   * group has ended; never rejects. Of a detached command nobody waits for the end: it resolves at once, with code 0.
   */
  readonly exited: Promise<Exit>
  /** Sends a signal to the command and all that it started in its process group. A detached one is left alone. */
  kill(signal: NodeJS.Signals): void
  /**
   * SIGTERM or `first`, and SIGKILL to what is left STOP_GRACE later. Resolves when the whole process group has ended, so what
   * it held, ports and interfaces, is free. A detached command is left alone, and so is what a command left behind that
   * ended by itself.
   */
  stop(first?: EndingSignal): Promise<void>
}

/** How long a command may take to end by itself, in ms: enough to take an interface down, short for one who waits. */
export const STOP_GRACE = 5_000

/** How long to wait for what was sent SIGKILL, in ms: nothing survives that, but a driver may hold it up. */
const KILL_GRACE = 1_000

/** Signals that ask a command to end: after one of them nothing of its process group is left running. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGKILL']

/** The exit code by which a shell, and this program, pass on how a command ended: 128 and the number of its signal. */
export function exitStatus(exit: Exit): number {
  return exit.signal === null ? exit.code : 128 + constants.signals[exit.signal]
}

interface Supervision {
  readonly clock: Clock
  readonly log: Logger
  readonly key: KeyFile
  readonly signal?: AbortSignal
}

/**
 * - `running`: nobody has asked it to end; what it leaves behind when it does is its own affair
 * - `ending`: somebody has, by the signal `by`; its process group goes with it
 * - `ended`: the number of its process group may belong to others
 */
type State = { is: 'running' } | { is: 'ending'; by: NodeJS.Signals } | { is: 'ended' }

/** A command in a process group of its own, from its start to its end. */
export class Supervised implements Child {
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #clock: Clock
  readonly #log: Logger
  readonly #group: ProcessGroup
  #state: State = { is: 'running' }
  #stopped: Promise<void> | undefined

  /** @param process one that has been spawned as the leader of a process group */
  constructor(process: ChildProcess, { clock, log, key, signal }: Supervision) {
    // a process that was spawned has a number
    this.pid = process.pid as number
    this.#clock = clock
    this.#log = log
    this.#group = new ProcessGroup(this.pid, log)
    const began = clock.now()
    log.info({ pid: this.pid }, 'the command runs')
    const onabort = () => void this.stop(signal?.reason instanceof Ending ? signal.reason.by : 'SIGTERM')
    this.exited = new Promise<Exit>((resolve) => {
      process.once('exit', (code, killer) => resolve(toExit(code, killer)))
    }).then(async (exit) => {
      signal?.removeEventListener('abort', onabort)
      this.#report(exit, clock.now() - began)
      if (this.#state.is === 'ending') await this.#sweep(this.#state.by)
      this.#state = { is: 'ended' }
      await key.remove()
      return exit
    })
    signal?.addEventListener('abort', onabort, { once: true })
    if (signal?.aborted) onabort()
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#state.is === 'ended') return
    if (ENDING.includes(signal)) this.#state = { is: 'ending', by: signal }
    this.#group.signal(signal)
  }

  stop(first: EndingSignal = 'SIGTERM'): Promise<void> {
    this.#stopped ??= this.#stop(first)
    return this.#stopped
  }

  async #stop(first: EndingSignal): Promise<void> {
    this.kill(first)
    const cancel = this.#clock.timer(STOP_GRACE, () => {
      this.#log.warn({ pid: this.pid }, 'the command did not exit when asked, killing it')
      this.kill('SIGKILL')
    })
    await this.exited
    cancel()
  }

  /** Ends what is left of the group when its leader is gone. */
  async #sweep(by: NodeJS.Signals): Promise<void> {
    // what a script runs in the background ignores SIGINT (XCU 2.11); a second SIGTERM would make some hurry
    if (by !== 'SIGTERM') this.#group.signal('SIGTERM')
    if (await this.#group.emptied(this.#clock, STOP_GRACE)) return
    this.#group.signal('SIGKILL')
    await this.#group.emptied(this.#clock, KILL_GRACE)
  }

  #report(exit: Exit, ms: number): void {
    const how = exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`
    const line = `the command exited ${how} after ${(ms / 1000).toFixed(1)} s`
    const level = exitStatus(exit) === 0 || this.#state.is === 'ending' ? 'info' : 'warn'
    this.#log[level]({ pid: this.pid, ...exit, ms: Math.round(ms) }, line)
  }
}

/** A command that was let go. Its end is noted in the log if this program is still there. */
export class Detached implements Child {
  readonly pid: number
  readonly exited: Promise<Exit> = Promise.resolve({ code: 0, signal: null })

  constructor(process: ChildProcess, log: Logger) {
    this.pid = process.pid as number
    log.info({ pid: this.pid }, 'the command runs, detached')
    process.once('exit', (code, signal) =>
      log.debug({ pid: this.pid, code, signal }, 'the detached command ended'),
    )
    process.unref()
  }

  kill(): void {}

  async stop(): Promise<void> {}
}

function toExit(code: number | null, signal: NodeJS.Signals | null): Exit {
  return signal === null ? { code: code ?? 0, signal } : { code: null, signal }
}
