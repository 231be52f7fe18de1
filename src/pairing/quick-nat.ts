import { formatEndpoint, type Logger, type Mapping, type UdpPort } from '../net/index.js'
import { allocationOf, MAX_PORTS, type NatHint, NO_HINT } from '../punch/index.js'
import { compareMappings, type Reflexive } from '../stun/index.js'

/** Opens fresh sockets and tells their outside ports in that order; empty when it cannot. */
export type SamplePorts = (server: Reflexive['server']) => Promise<number[]>

/**
 * What the STUN answers on the punching port say of the NAT before it. When the mapping depends on the destination, the
 * ports of some fresh sockets are sampled as well: they show whether the next one can be told.
 */
export class QuickNat {
  readonly #log: Logger
  readonly #sample: SamplePorts
  readonly #answers: Reflexive[] = []
  readonly #listeners: (() => void)[] = []
  #hint: NatHint = NO_HINT
  /** Whether ports have been sampled. */
  #sampling: 'no' | 'yes' = 'no'

  constructor(log: Logger, sample: SamplePorts) {
    this.#log = log
    this.#sample = sample
  }

  /** What is known by now. */
  get hint(): NatHint {
    return this.#hint
  }

  add(answer: Reflexive): void {
    this.#answers.push(answer)
    const mapping = mappingOf(this.#answers)
    if (mapping === this.#hint.mapping) return
    const seen = this.#answers.map(
      ({ endpoint, serverName }) => `${formatEndpoint(endpoint)} by ${serverName}`,
    )
    this.#log.info({}, `${mapping} mapping: seen as ${seen.join(', ')}`)
    this.#hint = { ...this.#hint, mapping }
    if (mapping === 'endpoint-independent' || this.#sampling === 'yes') this.tell()
    else {
      this.#sampling = 'yes'
      // one message to the peer is enough for both
      void this.#sample(answer.server).then((ports) => this.#sampled(ports))
    }
  }

  /** Calls back whenever more has become known, until the returned function is called. */
  onHint(listener: () => void): () => void {
    this.#listeners.push(listener)
    return () => {
      const index = this.#listeners.indexOf(listener)
      if (index >= 0) this.#listeners.splice(index, 1)
    }
  }

  #sampled(ports: readonly number[]): void {
    if (ports.length > 0) {
      const allocation = allocationOf(ports)
      const step = allocation.kind === 'sequential' ? `, step ${allocation.step}` : ''
      this.#log.info({}, `the NAT assigns ports ${WORDS[allocation.kind]}${step}: ${ports.join(', ')}`)
      this.#hint = { ...this.#hint, allocation, ports: ports.slice(0, MAX_PORTS) }
    }
    this.tell()
  }

  /** There is something new to be told of, from here or elsewhere. */
  tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

const WORDS = {
  unknown: 'in an unknown order',
  preserved: 'equal to the local ones',
  sequential: 'in sequence',
  random: 'at random',
} as const

/** IPv4 first: that is where NATs are. Which of the two kinds of dependence it is takes two ports of one address. */
function mappingOf(answers: readonly Reflexive[]): Mapping {
  for (const family of [4, 6] as const) {
    const found = compareMappings(answers, family)
    if (found === 'symmetric') return 'address-dependent'
    if (found === 'endpoint-independent') return found
  }
  return 'unknown'
}

/** Opens as many sockets as it can, up to `MAX_PORTS`. */
export function freshPorts(open: () => UdpPort): UdpPort[] {
  const ports: UdpPort[] = []
  try {
    while (ports.length < MAX_PORTS) ports.push(open())
  } catch {
    // fewer show less
  }
  return ports
}
