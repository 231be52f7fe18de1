import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { Machine } from '../budget/index.js'

/** Where a limit cannot be read: what most systems have given since the nineties. */
const USUAL_DESCRIPTORS = 1024
/** Of an unlimited number, as much as anybody needs. */
const MANY_DESCRIPTORS = 1_048_576
/** ip_local_port_range of Linux, and IANA's ephemeral ports beyond it. */
const USUAL_PORTS = 16_384

/** What this process has been given, as the system says it. */
export function systemMachine(): Machine {
  return {
    descriptors: parseDescriptors(read('/proc/self/limits')),
    ports: parsePorts(read('/proc/sys/net/ipv4/ip_local_port_range')),
    memory: Math.min(totalmem(), constrained()),
    heap: getHeapStatistics().heap_size_limit,
  }
}

/** The soft limit of proc_pid_limits(5): the one that counts. */
export function parseDescriptors(limits: string): number {
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits) ?? []
  if (soft === undefined) return USUAL_DESCRIPTORS
  return soft === 'unlimited' ? MANY_DESCRIPTORS : Math.min(MANY_DESCRIPTORS, Number(soft))
}

/** Both ends are among them. */
export function parsePorts(range: string): number {
  const [, from, to] = /^(\d+)\s+(\d+)\s*$/.exec(range) ?? []
  return from === undefined ? USUAL_PORTS : Math.max(0, Number(to) - Number(from) + 1)
}

/** The bound of the control group in bytes; 0, or a number without meaning, says that there is none. */
function constrained(): number {
  const bytes = process.constrainedMemory() ?? 0
  return bytes > 0 ? bytes : Number.POSITIVE_INFINITY
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // another system than Linux, or one that hides it
  }
}
