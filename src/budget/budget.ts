import { type Amounts, type Needs, RESOURCE_WORDS, RESOURCES, type Resource } from './resource.js'

/** One in so many of each ceiling is kept for identities that have little. */
const KEPT = 8

/** So much is kept at least, if that is not more than half: a tunnel and two connections for each of three identities. */
const LEAST_KEPT: Amounts = { tunnels: 3, descriptors: 12, ports: 12, memory: 18 * 2 ** 20 }

/** As long as there is anything left, an identity may have so much: a tunnel and two connections. */
const LITTLE: Amounts = { tunnels: 1, descriptors: 4, ports: 4, memory: 6 * 2 ** 20 }

/** How often an identity is told to have met its bounds, in ms. */
const WARNING_INTERVAL = 60_000

const FEW_IDENTITIES = 32

/** Why something could not be had. */
export interface Refusal {
  readonly kind: 'refused'
  readonly resource: Resource
  /** For the log and for the peer: it has no secrets. */
  readonly sentence: string
}

/** What an identity holds, and what it was told. */
interface Account {
  readonly held: Record<Resource, number>
  warnedAt: number
}

/** What is given back later. */
interface Lingering {
  readonly until: number
  readonly identity: string
  readonly needs: Needs
}

/**
 * What the peers of a process may use of it, all together and each of them. Pure: the time (ms, monotonic) is passed in.
 *
 * An identity may take whatever nobody uses, but for an eighth of each ceiling. Half of that eighth is for those that have
 * less than an equal part, and the rest for those that have no more than what is left after them: so whoever comes later
 * finds something, whatever the number of tunnels that others have. Nobody is cut off to make room.
 */
export class Budget {
  readonly ceilings: Amounts
  readonly #used: Record<Resource, number> = none()
  readonly #accounts = new Map<string, Account>()
  #lingering: Lingering[] = []
  /** From so many identities on, those that hold nothing are looked for. */
  #crowd = FEW_IDENTITIES

  constructor(ceilings: Amounts) {
    this.ceilings = ceilings
  }

  /** What an identity may use: the same for all of its tunnels. An identity without a name is one of its own. */
  share(identity: string): Share {
    return new Share(this, identity)
  }

  /** How much is in use. */
  get used(): Amounts {
    return { ...this.#used }
  }

  /** How many identities are remembered. */
  get remembered(): number {
    return this.#accounts.size
  }

  /** What an identity holds. */
  heldBy(identity: string): Amounts {
    return { ...(this.#accounts.get(identity)?.held ?? none()) }
  }

  /** What is kept of a resource for identities that have little. */
  kept(resource: Resource): number {
    const ceiling = this.ceilings[resource]
    return Math.min(ceiling / 2, Math.max(LEAST_KEPT[resource], ceiling / KEPT))
  }

  /** Why this is not to be had now; undefined if it is. */
  refusal(now: number, identity: string, needs: Needs): Refusal | undefined {
    const short = this.short(now, identity, needs)
    return short && this.#refused(identity, short)
  }

  /** Which of these is not to be had now. */
  short(now: number, identity: string, needs: Needs): Resource | undefined {
    this.#settle(now)
    return RESOURCES.find((resource) => !this.#allows(identity, resource, needs[resource] ?? 0))
  }

  /** Takes all of it. Only after `refusal` has found nothing against it. */
  charge(identity: string, needs: Needs): void {
    const account = this.#accountOf(identity)
    for (const resource of RESOURCES) {
      account.held[resource] += needs[resource] ?? 0
      this.#used[resource] += needs[resource] ?? 0
    }
  }

  /** Gives back what was charged. */
  release(identity: string, needs: Needs): void {
    const account = this.#accounts.get(identity)
    if (!account) return
    for (const resource of RESOURCES) {
      account.held[resource] -= needs[resource] ?? 0
      this.#used[resource] -= needs[resource] ?? 0
    }
  }

  /** The same at a later time. */
  releaseAt(until: number, identity: string, needs: Needs): void {
    this.#lingering.push({ until, identity, needs })
  }

  /** Whether the log may say now that an identity met its bounds. */
  mayWarn(now: number, identity: string): boolean {
    const account = this.#accountOf(identity)
    if (now - account.warnedAt < WARNING_INTERVAL) return false
    account.warnedAt = now
    return true
  }

  #accountOf(identity: string): Account {
    const account = this.#accounts.get(identity) ?? { held: none(), warnedAt: Number.NEGATIVE_INFINITY }
    this.#accounts.set(identity, account)
    return account
  }

  #allows(identity: string, resource: Resource, amount: number): boolean {
    if (amount === 0) return true
    const left = this.ceilings[resource] - this.#used[resource] - amount
    const kept = this.kept(resource)
    if (left < 0 || left >= kept) return left >= 0
    const holds = (this.#accounts.get(identity)?.held[resource] ?? 0) + amount
    if (holds <= Math.max(LITTLE[resource], left)) return true
    return left >= kept / 2 && holds <= this.ceilings[resource] / (this.#holdersOf(resource) + 1)
  }

  #holdersOf(resource: Resource): number {
    let count = 0
    for (const { held } of this.#accounts.values()) if (held[resource] > 0) count++
    return count
  }

  #refused(identity: string, resource: Resource): Refusal {
    const held = this.#accounts.get(identity)?.held[resource] ?? 0
    const much = resource === 'memory' ? `${Math.round(held / 2 ** 20)} MiB` : `${held}`
    const what = RESOURCE_WORDS[resource]
    const sentence =
      this.#used[resource] >= this.ceilings[resource]
        ? `The limit of ${what} for all peers is reached.`
        : `The limit of ${what} for one peer is reached (${much} in use).`
    return { kind: 'refused', resource, sentence }
  }

  /** What lingered is free, and who holds nothing is forgotten. */
  #settle(now: number): void {
    const due = this.#lingering.findIndex(({ until }) => until > now)
    const over = due < 0 ? this.#lingering.splice(0) : this.#lingering.splice(0, due)
    for (const { identity, needs } of over) this.release(identity, needs)
    if (this.#accounts.size < this.#crowd) return
    for (const [identity, { held, warnedAt }] of this.#accounts) {
      const idle = RESOURCES.every((resource) => held[resource] === 0)
      if (idle && now - warnedAt >= WARNING_INTERVAL) this.#accounts.delete(identity)
    }
    this.#crowd = Math.max(FEW_IDENTITIES, 2 * this.#accounts.size)
  }
}

/** What one identity may use. */
export class Share {
  readonly #budget: Budget
  readonly identity: string

  constructor(budget: Budget, identity: string) {
    this.#budget = budget
    this.identity = identity
  }

  /** Takes all of it, or nothing. */
  take(now: number, needs: Needs): Grant | Refusal {
    const refusal = this.refusal(now, needs)
    if (refusal) return refusal
    this.#budget.charge(this.identity, needs)
    return new Grant(this.#budget, this.identity, needs)
  }

  /** Why it would not be given now; undefined if it would. */
  refusal(now: number, needs: Needs): Refusal | undefined {
    return this.#budget.refusal(now, this.identity, needs)
  }

  /** Whether the log may say now that this identity met its bounds: once a minute, whatever the number of tunnels. */
  mayWarn(now: number): boolean {
    return this.#budget.mayWarn(now, this.identity)
  }
}

/** What was taken, until it is given back: that happens once, however often it is asked for. */
export class Grant {
  readonly kind = 'granted'
  readonly #budget: Budget
  readonly #identity: string
  readonly #held = none()
  #state: 'held' | 'returned' = 'held'

  constructor(budget: Budget, identity: string, needs: Needs) {
    this.#budget = budget
    this.#identity = identity
    for (const resource of RESOURCES) this.#held[resource] = needs[resource] ?? 0
  }

  /** Takes more of one resource into the same grant. @returns whether it could be had */
  grow(now: number, resource: Resource, amount: number): boolean {
    if (this.#state === 'returned') return false
    const needs = { [resource]: amount }
    if (this.#budget.short(now, this.#identity, needs)) return false
    this.#budget.charge(this.#identity, needs)
    this.#held[resource] += amount
    return true
  }

  /** Gives some of it back, never more than there is. */
  shrink(resource: Resource, amount: number): void {
    const given = Math.min(amount, this.#held[resource])
    if (this.#state === 'returned' || given <= 0) return
    this.#held[resource] -= given
    this.#budget.release(this.#identity, { [resource]: given })
  }

  giveBack(): void {
    if (this.#state === 'returned') return
    this.#state = 'returned'
    this.#budget.release(this.#identity, this.#held)
  }

  /**
   * Gives everything back, but the ports only at that time (ms): the system holds them until then. Times must not go back
   * from one call to the next.
   */
  giveBackPortsAt(until: number): void {
    if (this.#state === 'returned') return
    const { ports } = this.#held
    this.#held.ports = 0
    this.#budget.releaseAt(until, this.#identity, { ports })
    this.giveBack()
  }
}

function none(): Record<Resource, number> {
  return { tunnels: 0, descriptors: 0, ports: 0, memory: 0 }
}
