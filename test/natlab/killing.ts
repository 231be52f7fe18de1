import { type Dirent, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { sleep } from '../../src/net/index.js'
import type { Machine } from './index.js'
import type { Outcome, PairingRig, Process } from './pairing-rig.js'

/** Which process of a pairing is killed. */
export type Victim = 'inviter' | 'accepter'

/** The longest delay of a kill after the inviter's start, in ms: a pairing takes some 600 ms. */
const LATEST = 700
/** How long a command may go on that its killed plexus left behind, in ms: it ends by itself, as nobody answers it. */
const COMMAND_END = 8000

export interface Slaughter {
  readonly victim: Victim
  /** ms after the inviter's start */
  readonly after: number
  /** The last thing that the killed process logged. */
  readonly during: string
  /** How the pairing after it went. */
  readonly next: Outcome
}

/** Two sides of which one is killed in the middle of a pairing, again and again. */
export class Killing {
  readonly #rig: PairingRig
  readonly #inviting: readonly [Machine, string]
  readonly #accepting: readonly [Machine, string]
  #accepter: Process | undefined

  constructor(rig: PairingRig, inviting: readonly [Machine, string], accepting: readonly [Machine, string]) {
    this.#rig = rig
    this.#inviting = inviting
    this.#accepting = accepting
  }

  /** Begins a pairing, kills one side at a random moment of it, starts it again, and pairs. */
  async once(victim: Victim): Promise<Slaughter> {
    const accepter = await this.#running()
    const peer = this.#accepting[1]
    const inviter = this.#rig.inviter(...this.#inviting, peer)
    const after = (systemRandom(2).readUInt16BE() / 0x1_0000) * LATEST
    await sleep(systemClock, after)
    const killed = victim === 'inviter' ? inviter : accepter
    killed.child.kill('SIGKILL')
    await killed.ended
    const during = killed.events.at(-1)?.msg ?? 'nothing yet'
    if (victim === 'accepter') {
      this.#accepter = undefined
      await inviter.stop()
    }
    const next = await this.#rig.pair(...this.#inviting, peer, await this.#running())
    return { victim, after, during, next }
  }

  async close(): Promise<void> {
    await this.#accepter?.stop()
  }

  async #running(): Promise<Process> {
    this.#accepter ??= await this.#rig.accepter(...this.#accepting)
    return this.#accepter
  }
}

/** Waits until no command of the rig runs any more. @returns those that still do when patience is over */
export async function commandsLeft(rig: PairingRig): Promise<string[]> {
  const until = systemClock.now() + COMMAND_END
  for (;;) {
    const left = commands(rig)
    if (left.length === 0 || systemClock.now() > until) return left
    await sleep(systemClock, 100)
  }
}

/** The command lines of processes that were started for this rig, other than servers and daemons that still run. */
function commands(rig: PairingRig): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
        return words[1] === rig.exchange && environment.includes(rig.directory) ? [words.join(' ')] : []
      } catch {
        return [] // it has ended
      }
    })
}

/** Every file below a directory, by its path in it. */
export function filesBelow(directory: string): string[] {
  const path = ({ parentPath, path, name }: Dirent & { path?: string }) => join(parentPath ?? path, name)
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path(entry).slice(directory.length + 1))
    .sort()
}
