import { ceilingsOf, type Machine } from './ceilings.js'

/** Below this many descriptors, ports and bytes for peers a few connections use up what there is. */
const FEW_DESCRIPTORS = 1024
const FEW_PORTS = 4096
const LITTLE_MEMORY = 64 * 2 ** 20

/** A limit of the system that is lower than people expect. */
export interface LowLimit {
  /** Which one, with a full stop. */
  readonly sentence: string
  readonly advice: string
}

/** The limits by which this program can serve only few peers and connections: for a look beforehand, and for the start. */
export function lowLimits(machine: Machine): LowLimit[] {
  const { descriptors, ports, memory } = ceilingsOf(machine)
  const low: LowLimit[] = []
  if (machine.descriptors < FEW_DESCRIPTORS) {
    low.push({
      sentence: `This program may open ${machine.descriptors} files and sockets, ${descriptors} of them for peers.`,
      advice: 'Raise the limit: LimitNOFILE= in a systemd unit, ulimit -n in the shell that starts it.',
    })
  }
  if (machine.ports < FEW_PORTS) {
    low.push({
      sentence: `The system gives out ${machine.ports} local ports, ${ports} of them for peers.`,
      advice: 'Widen net.ipv4.ip_local_port_range with sysctl.',
    })
  }
  if (memory < LITTLE_MEMORY) {
    low.push({
      sentence: `Only ${Math.floor(memory / 2 ** 20)} MiB of memory are left for peers.`,
      advice: 'Give the program more memory: MemoryMax= in a systemd unit.',
    })
  }
  return low
}

/** What there is for all peers together, in one sentence. */
export function limitsInWords(machine: Machine): string {
  const { tunnels, descriptors, ports, memory } = ceilingsOf(machine)
  const mebibytes = Math.floor(memory / 2 ** 20)
  return `For all peers together: ${tunnels} tunnels, ${descriptors} files and sockets, ${ports} local ports, ${mebibytes} MiB of memory.`
}
