import { fileURLToPath } from 'node:url'
import type { Machine } from './index.js'
import type { PairingRig } from './pairing-rig.js'

const MEMBER = fileURLToPath(new URL('./throng-member.js', import.meta.url))

/** What a process with many inviters is to do. */
export interface Task {
  readonly repository: string
  readonly hosts: readonly string[]
  readonly peer: string
  readonly app: string
  readonly bootstrap: string
  readonly stun: string
  readonly state: string
}

/** How it went for one inviter. */
export interface Report {
  readonly host: string
  readonly paired: boolean
  /** The code of each attempt that failed. */
  readonly refusals: readonly string[]
  /** From its first attempt to its last. */
  readonly ms: number
}

/** The names of a throng of inviters. */
export function throngNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `guest${index}@px.test/laptop`)
}

/** Has all hosts invite the peer at once, spread over machines with one process each. */
export async function throng(
  rig: PairingRig,
  machines: readonly Machine[],
  hosts: readonly string[],
  peer: string,
): Promise<Report[]> {
  const share = Math.ceil(hosts.length / machines.length)
  const reports = await Promise.all(
    machines.map(async (machine, index) => {
      const task: Task = {
        repository: rig.repository,
        hosts: hosts.slice(index * share, (index + 1) * share),
        peer,
        app: 'lab',
        bootstrap: rig.bootstrap,
        stun: rig.stunServer,
        state: rig.directory,
      }
      const { stdout, stderr, status } = await machine.exec(process.execPath, [MEMBER, JSON.stringify(task)])
      if (status !== 0) throw new Error(`inviters ended with ${status}: ${stderr}`)
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Report)
    }),
  )
  return reports.flat()
}
