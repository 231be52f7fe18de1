import type { Amounts } from './resource.js'

/** What the system gives this process. */
export interface Machine {
  /** Descriptors that it may have open (RLIMIT_NOFILE). */
  readonly descriptors: number
  /** Ports that the system gives out by itself (ip_local_port_range). */
  readonly ports: number
  /** Bytes that it may use: those of the machine, or of its control group if that is less. */
  readonly memory: number
  /** Bytes that the heap of the engine may grow to. */
  readonly heap: number
}

/** What a tunnel costs before anything goes through it: a socket for each family, keys and what it knows of the path. */
export const TUNNEL_COST = { tunnels: 1, descriptors: 2, memory: 512 * 1024 } as const

/** Descriptors of the engine, the log, the state and the listening sockets. */
const OWN_DESCRIPTORS = 28
/** Descriptors for the rendezvous, for punches and for commands that are started: an eighth, within these bounds. */
const RESERVE = { least: 12, most: 228 } as const
/** However small the machine, some peers are served. */
const LEAST_DESCRIPTORS = 8
/** Ports for punches, the rendezvous and other programs: one in so many. */
const SPARED_PORTS = 8
/** Bytes that the program takes by itself. */
const OWN_MEMORY = 128 * 2 ** 20
const LEAST_MEMORY = 32 * 2 ** 20
/** One tunnel for every so many descriptors: it is of no use without connections. */
const DESCRIPTORS_A_TUNNEL = 4
/** And one for so many bytes: its own, and as much again for what is in it. */
const MEMORY_A_TUNNEL = 2 * TUNNEL_COST.memory
const MOST_TUNNELS = 4096

/** What is left of the machine for all peers together, once the program has what it needs to hear them at all. */
export function ceilingsOf({ descriptors, ports, memory, heap }: Machine): Amounts {
  const reserve = Math.min(RESERVE.most, Math.max(RESERVE.least, Math.floor(descriptors / 8)))
  const forPeers = Math.max(LEAST_DESCRIPTORS, descriptors - OWN_DESCRIPTORS - reserve)
  const bytes = Math.max(LEAST_MEMORY, Math.min(Math.floor((memory - OWN_MEMORY) / 2), heap))
  const tunnels = Math.min(
    MOST_TUNNELS,
    Math.floor(forPeers / DESCRIPTORS_A_TUNNEL),
    Math.floor(bytes / MEMORY_A_TUNNEL),
  )
  return { tunnels, descriptors: forPeers, ports: ports - Math.ceil(ports / SPARED_PORTS), memory: bytes }
}

/** No bounds but those of the machine itself: where nobody is to be protected from anybody. */
export const UNBOUNDED: Amounts = {
  tunnels: Number.POSITIVE_INFINITY,
  descriptors: Number.POSITIVE_INFINITY,
  ports: Number.POSITIVE_INFINITY,
  memory: Number.POSITIVE_INFINITY,
}
