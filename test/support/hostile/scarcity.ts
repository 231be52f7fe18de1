/**
 * An accepter whose system has few descriptors, or few local ports, while a hostile peer takes all it can. Its argument is a
 * `Scarcity` in JSON; it prints what others still get, as `Left` in JSON. For few ports it needs root: it makes a network of its
 * own.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sleep } from '../../../src/net/index.js'
import { systemClock } from '../../../src/system/index.js'
import { Stage } from './stage.js'

export interface Scarcity {
  readonly descriptors?: number
  readonly ports?: number
  readonly attacks: readonly string[]
  /** How long the attack lasts at most before anybody else comes, in ms, unless it is refused more. */
  readonly while: number
  /** Another copy of the program. */
  readonly main?: string
}

export interface Left {
  /** How many of three other pairings came about. */
  readonly pairings: number
  /** Whether the tunnel of another identity takes a new connection, to the very service that is attacked. */
  readonly connects: boolean
  /** Descriptors that the accepter has open. */
  readonly descriptors: number
  /** Connections to the service. */
  readonly connections: number
  /** How often the log says that the system had no more, and that a peer is refused more. */
  readonly exhausted: number
  readonly refusing: number
}

const ME = fileURLToPath(import.meta.url)

/** How long all of it may take, in ms. */
const PATIENCE = 120_000

/** @throws Error if it could not be measured */
export function underScarcity(scarcity: Scarcity): Left {
  const { ports } = scarcity
  const range = `ip link set lo up; echo 40000 ${39_999 + (ports ?? 0)} >/proc/sys/net/ipv4/ip_local_port_range`
  const under = ports === undefined ? [] : ['unshare', '--net', 'sh', '-c', `${range}; exec "$@"`, 'sh']
  const [command = '', ...words] = [...under, process.execPath, ME, JSON.stringify(scarcity)]
  const { stdout, stderr } = spawnSync(command, words, { encoding: 'utf8', timeout: PATIENCE })
  const line = /^left (.*)$/m.exec(stdout)?.[1]
  if (line === undefined) throw new Error(stderr)
  return JSON.parse(line) as Left
}

async function measure({ attacks, main, ...scarcity }: Scarcity): Promise<Left> {
  const { descriptors } = scarcity
  const stage = await Stage.open({
    ...(descriptors === undefined ? {} : { descriptors }),
    ...(main === undefined ? {} : { main }),
  })
  const end = await stage.attack(attacks, 'echo', 0)
  try {
    await Promise.race([
      sleep(systemClock, scarcity.while),
      stage.accepter.said(/refusing more from mallory/),
    ])
    const open = stage.descriptors
    const connections = stage.connections
    const echoes = await stage.echoes(300)
    let pairings = 0
    for (let time = 0; time < 3; time++) if (Number.isFinite(await stage.pair())) pairings++
    return {
      pairings,
      connects: echoes.length > 0 && echoes.every(Number.isFinite),
      descriptors: open,
      connections,
      exhausted: stage.accepter.times(/EMFILE|EADDRNOTAVAIL/),
      refusing: stage.accepter.times(/refusing more from mallory/),
    }
  } finally {
    await end()
    await stage.close()
  }
}

if (process.argv[1] === ME) {
  const left = await measure(JSON.parse(process.argv[2] ?? '') as Scarcity)
  process.stdout.write(`left ${JSON.stringify(left)}\n`)
  process.exit(0)
}
