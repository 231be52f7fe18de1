import { type Endpoint, sameEndpoint } from '../../net/index.js'
import type { TunnelKeys } from './greeting.js'

/**
 * HELLOs that are remembered at once: most of them are kept for those that come from where the peer is expected, so that
 * what others send on does not push them out.
 */
const ROOM = { expected: 8, elsewhere: 4 } as const

/**
 * Key agreements that they may cost: some at once, and then so many a second. One takes 0.1 ms; and a peer that was told
 * so late proves itself with what it sends again.
 */
const AGREEMENTS = { expected: { most: 8, rate: 16 }, elsewhere: { most: 4, rate: 4 } } as const

type Origin = keyof typeof ROOM

interface Candidate {
  readonly ephemeral: Buffer
  readonly hello: Buffer
  from: Endpoint
  keys: TunnelKeys | undefined
}

/**
 * The HELLOs of peers that send no CONFIRM (revision 0). Any of them may be a recorded one, so that nothing is computed
 * before a datagram with frames comes from the same address; that proves one of them.
 */
export class OlderHellos {
  readonly #expected: Endpoint
  readonly #agree: (ephemeral: Buffer, hello: Buffer) => TunnelKeys | undefined
  readonly #candidates: Record<Origin, Candidate[]> = { expected: [], elsewhere: [] }
  readonly #allowance: Record<Origin, { left: number; at: number }>

  constructor(
    now: number,
    expected: Endpoint,
    agree: (ephemeral: Buffer, hello: Buffer) => TunnelKeys | undefined,
  ) {
    this.#expected = expected
    this.#agree = agree
    this.#allowance = {
      expected: { left: AGREEMENTS.expected.most, at: now },
      elsewhere: { left: AGREEMENTS.elsewhere.most, at: now },
    }
  }

  add(ephemeral: Buffer, hello: Buffer, from: Endpoint): void {
    const origin = this.#originOf(from)
    const list = this.#candidates[origin]
    const known = list.find((candidate) => candidate.ephemeral.equals(ephemeral))
    if (known) {
      known.from = from
      return
    }
    if (list.length === ROOM[origin]) list.shift()
    list.push({ ephemeral: Buffer.from(ephemeral), hello: Buffer.from(hello), from, keys: undefined })
  }

  /** Those that a datagram with frames from there could prove, with their keys, the newest first. */
  *from(now: number, from: Endpoint): Generator<Candidate & { keys: TunnelKeys }> {
    const origin = this.#originOf(from)
    const list = this.#candidates[origin]
    for (let at = list.length - 1; at >= 0; at--) {
      const candidate = list[at] as Candidate
      if (!sameEndpoint(candidate.from, from)) continue
      if (!candidate.keys && this.#mayAgree(now, origin)) {
        candidate.keys = this.#agree(candidate.ephemeral, candidate.hello)
      }
      if (candidate.keys) yield candidate as Candidate & { keys: TunnelKeys }
    }
  }

  clear(): void {
    this.#candidates.expected = []
    this.#candidates.elsewhere = []
  }

  #originOf(from: Endpoint): Origin {
    return sameEndpoint(from, this.#expected) ? 'expected' : 'elsewhere'
  }

  #mayAgree(now: number, origin: Origin): boolean {
    const allowance = this.#allowance[origin]
    const { most, rate } = AGREEMENTS[origin]
    allowance.left = Math.min(most, allowance.left + ((now - allowance.at) * rate) / 1000)
    allowance.at = now
    if (allowance.left < 1) return false
    allowance.left--
    return true
  }
}
