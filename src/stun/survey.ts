import {
  type Due,
  type Endpoint,
  earliest,
  type Family,
  familyOf,
  NEVER,
  type Random,
  sameEndpoint,
  scopeOf,
} from '../net/index.js'
import { find, type Message } from './message.js'
import { describeFailure, Transaction, type TransactionFailure, type Transmit } from './transaction.js'

/**
 * How long the other address family may still answer once one has, in ms. Both were asked in the same instant, so
 * what is that much slower would hardly be the better path; waiting longer delays every pairing on hosts whose IPv6
 * leads nowhere.
 */
export const FAMILY_GRACE = 50

/** What one server said of this port. */
export interface Reflexive {
  /** Where the server saw the port's packets come from. */
  readonly endpoint: Endpoint
  /** The family that was used; behind a NAT64 the endpoint has the other one. */
  readonly base: Family
  readonly server: Endpoint
  /** The server as the user named it. */
  readonly serverName: string
  /** From the first request to the answer, in ms: an upper bound of the round trip if a packet was lost. */
  readonly rtt: number
  /** Another address and port of the same server, when it says that it has one (OTHER-ADDRESS, RFC 5780 section 7.4). */
  readonly other?: Endpoint
}

/** Why a server that was named could not even be asked. */
export type NameFailure =
  /** `code`: of the resolver, as ENOTFOUND. */
  | { readonly kind: 'unresolved'; readonly code: string }
  /** It has addresses, but none that this port can send to. */
  | { readonly kind: 'unreachable'; readonly addresses: readonly string[] }

/** A server that gave nothing, and why, in words. */
export interface Tried {
  readonly serverName: string
  /** Missing when no address was found. */
  readonly server: Endpoint | undefined
  readonly failure: TransactionFailure | NameFailure
}

export type SurveyState =
  /** Nobody has answered yet. */
  | { readonly name: 'asking' }
  /** One family has; the other may until `until` (ms). */
  | { readonly name: 'settling'; readonly until: number }
  /** `reflexive`: the first good answer of each family, the fastest first. */
  | { readonly name: 'settled'; readonly reflexive: readonly Reflexive[] }
  | { readonly name: 'failed'; readonly tried: readonly Tried[] }

/**
 * Asks several servers at once, without socket or timer. The first good answer of each family counts; later ones are
 * still handed out, for comparing mappings. Servers are added as their names resolve; a slow or failing one holds
 * up nobody.
 *
 * Its calls: `ask` or `fail` once for each name, in any order; `receive`, `askAlso`, and `tick` when it is due. After each of
 * them `transmits`, `answers`, `state` and `due`; it goes on for the later answers once it is settled, until nothing is due.
 */
export class Survey {
  readonly #families: readonly Family[]
  readonly #random: Random
  readonly #end: number
  readonly #unresolved: Set<string>
  readonly #asked: { readonly serverName: string; readonly transaction: Transaction }[] = []
  readonly #nameless: Tried[] = []
  readonly #first = new Map<Family, Reflexive>()
  #answers: Reflexive[] = []
  #state: SurveyState = { name: 'asking' }

  /**
   * @param options.names every server that will be added or given up on
   * @param options.families what the port can send on
   * @param options.timeout after which nothing more is asked or expected, in ms
   */
  constructor(
    options: {
      names: readonly string[]
      families: readonly Family[]
      random: Random
      timeout: number
    },
    now: number,
  ) {
    this.#unresolved = new Set(options.names)
    this.#families = options.families
    this.#random = options.random
    this.#end = now + options.timeout
    this.#settle(now)
  }

  get state(): SurveyState {
    return this.#state
  }

  /** When `tick` is wanted next, and why; never when nothing can come any more. */
  get due(): Due<'ask again' | 'settle for one family' | 'give up'> {
    const end = { at: this.#end, why: 'give up' } as const
    const next = earliest<'ask again' | 'settle for one family' | 'give up'>(
      ...this.#asked.map(({ transaction }) => transaction.due),
      this.#unresolved.size > 0 ? end : NEVER,
      this.#state.name === 'settling' ? { at: this.#state.until, why: 'settle for one family' } : NEVER,
    )
    return next.why === 'never' ? NEVER : earliest(next, end)
  }

  /** A name has resolved: asks each of its endpoints, unless it is being asked already. */
  ask(now: number, serverName: string, endpoints: readonly Endpoint[]): void {
    if (!this.#unresolved.delete(serverName)) return
    for (const endpoint of endpoints) {
      if (this.#asked.some(({ transaction }) => sameEndpoint(transaction.server, endpoint))) continue
      this.#asked.push({ serverName, transaction: new Transaction(endpoint, this.#random, now) })
    }
    this.#settle(now)
  }

  /** Asks one more endpoint of a server that has answered, for comparing mappings. */
  askAlso(now: number, serverName: string, endpoint: Endpoint): void {
    if (this.#asked.some(({ transaction }) => sameEndpoint(transaction.server, endpoint))) return
    this.#asked.push({ serverName, transaction: new Transaction(endpoint, this.#random, now) })
  }

  /** A name has not resolved to anything that can be asked. */
  fail(now: number, serverName: string, failure: NameFailure): void {
    if (!this.#unresolved.delete(serverName)) return
    this.#nameless.push({ serverName, server: undefined, failure })
    this.#settle(now)
  }

  receive(now: number, data: Uint8Array, from: Endpoint): void {
    const asked = this.#asked.find(({ transaction }) => transaction.receive(now, data, from))
    if (!asked) return
    const { serverName, transaction } = asked
    if (transaction.state.name === 'answered') {
      const { endpoint, rtt, message } = transaction.state
      const other = otherAddress(message, transaction.server)
      const base = familyOf(transaction.server)
      const { server } = transaction
      const reflexive = { endpoint, base, server, serverName, rtt, ...(other ? { other } : {}) }
      this.#answers.push(reflexive)
      if (!this.#first.has(base)) this.#first.set(base, reflexive)
    }
    this.#settle(now)
  }

  tick(now: number): void {
    for (const { transaction } of this.#asked) {
      if (now >= this.#end) transaction.giveUp()
      transaction.tick(now)
    }
    if (now >= this.#end) {
      for (const name of [...this.#unresolved]) this.fail(now, name, { kind: 'unresolved', code: 'timeout' })
    }
    this.#settle(now)
  }

  transmits(): Transmit[] {
    return this.#asked.flatMap(({ transaction }) => transaction.transmits())
  }

  /** Good answers, those that came after it settled too; each is given once. */
  answers(): Reflexive[] {
    const answers = this.#answers
    this.#answers = []
    return answers
  }

  #settle(now: number): void {
    if (this.#state.name === 'settled' || this.#state.name === 'failed') return
    const open = this.#families.filter((family) => !this.#first.has(family) && this.#mayAnswer(family))
    if (this.#first.size === 0) {
      if (open.length === 0) this.#state = { name: 'failed', tried: this.#tried() }
      return
    }
    const until = this.#state.name === 'settling' ? this.#state.until : now + FAMILY_GRACE
    const over = open.length === 0 || now >= until
    this.#state = over
      ? { name: 'settled', reflexive: [...this.#first.values()] }
      : { name: 'settling', until }
  }

  #mayAnswer(family: Family): boolean {
    if (this.#unresolved.size > 0) return true
    return this.#asked.some(
      ({ transaction }) => transaction.state.name === 'waiting' && familyOf(transaction.server) === family,
    )
  }

  #tried(): Tried[] {
    const asked = this.#asked.flatMap(({ serverName, transaction }) =>
      transaction.state.name === 'failed'
        ? [{ serverName, server: transaction.server, failure: transaction.state.failure }]
        : [],
    )
    return [...asked, ...this.#nameless]
  }
}

/** Where else a server answers, if that is an address of its own; what only leads elsewhere in this network is none. */
function otherAddress(message: Message, server: Endpoint): Endpoint | undefined {
  const other = find(message, 'OTHER-ADDRESS')?.endpoint
  if (!other || other.address === server.address || familyOf(other) !== familyOf(server)) return undefined
  return other.port > 0 && scopeOf(other.address) === scopeOf(server.address) ? other : undefined
}

/** Why a server gave nothing, in words to follow its name and a colon. */
export function describeTried(failure: Tried['failure']): string {
  switch (failure.kind) {
    case 'unresolved':
      return failure.code === 'timeout'
        ? 'its name did not resolve in time'
        : `its name does not resolve (${failure.code})`
    case 'unreachable':
      return failure.addresses.length === 0
        ? 'its name has no address'
        : `there is no route to its address ${failure.addresses.join(', ')}`
    default:
      return describeFailure(failure)
  }
}
