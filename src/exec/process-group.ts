import { readdir, readFile } from 'node:fs/promises'
import { codeOf } from '../errors/index.js'
import { type Clock, type Logger, sleep } from '../net/index.js'

/** How often a group is looked at whose leader is gone, in ms: the system tells nobody when it empties. */
const POLL = 20

/** A process group, by the number of its leader. Ask nothing of it once it was seen empty: its number is free then. */
export class ProcessGroup {
  readonly #leader: number
  readonly #log: Logger

  constructor(leader: number, log: Logger) {
    this.#leader = leader
    this.#log = log
  }

  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#leader, signal)
    } catch (thrown) {
      const code = codeOf(thrown)
      if (code === 'ESRCH') return
      this.#log.warn({ pid: this.#leader, signal, code }, 'the command cannot be signalled')
    }
  }

  /** Waits until no process of the group runs. @returns false if that did not come about within `ms` */
  async emptied(clock: Clock, ms: number): Promise<boolean> {
    const end = clock.now() + ms
    while (await this.#lives()) {
      if (clock.now() >= end) return false
      await sleep(clock, POLL)
    }
    return true
  }

  async #lives(): Promise<boolean> {
    try {
      process.kill(-this.#leader, 0)
    } catch (thrown) {
      return codeOf(thrown) !== 'ESRCH'
    }
    return await this.#runs()
  }

  /**
   * Whether the group has more than zombies: orphans that no process reaps, as in a container whose first process is
   * this program, would otherwise pass for running. Where there is no /proc, they do.
   */
  async #runs(): Promise<boolean> {
    const entries = await readdir('/proc').catch(() => [])
    const pids = entries.filter((name) => /^\d+$/.test(name))
    if (pids.length === 0) return true
    for (const pid of pids) {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
      // proc_pid_stat(5): pid (name) state ppid pgrp …; the name may hold parentheses itself
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (Number(group) === this.#leader && state !== 'Z' && state !== 'X') return true
    }
    return false
  }
}
