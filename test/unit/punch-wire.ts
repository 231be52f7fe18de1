import { type Endpoint, sameEndpoint } from '../../src/net/index.js'
import { type Candidate, Punch, type PunchOptions, type Transmit } from '../../src/punch/index.js'
import { Prng } from '../simulation/prng.js'

export const INVITER: Endpoint = { address: '198.51.100.1', port: 1000 }
export const ACCEPTER: Endpoint = { address: '198.51.100.2', port: 2000 }
export const INVITER_LAN: Endpoint = { address: '10.0.0.1', port: 1000 }
export const ACCEPTER_LAN: Endpoint = { address: '10.0.0.2', port: 2000 }

export type RoleName = PunchOptions['role']

/** A datagram that one side sent. */
export interface Sent extends Transmit {
  readonly by: RoleName
  readonly at: number
}

const HOPS = 7

/**
 * Two punches on a wire that takes 1 ms, without a NAT, in virtual time of 1 ms steps. Everything that is sent is
 * kept. Packets with a TTL die on the way, and so do those that `passes` says no to.
 */
export class Wire {
  now = 0
  readonly sent: Sent[] = []
  readonly inviter: Punch
  readonly accepter: Punch
  readonly prng: Prng
  /** Which endpoints lead to whom, and what the other side sees them come from. */
  readonly routes: { to: Endpoint; from: Endpoint; by: RoleName }[] = [
    { by: 'inviter', to: ACCEPTER, from: INVITER },
    { by: 'accepter', to: INVITER, from: ACCEPTER },
  ]
  passes: (datagram: Sent) => boolean = ({ ttl }) => ttl === undefined
  #flying: Sent[] = []

  constructor(
    options: {
      inviter?: Partial<PunchOptions>
      accepter?: Partial<PunchOptions>
      /** Where each side believes the other to be. */
      remote?: { inviter: Candidate[]; accepter: Candidate[] }
      seed?: number
    } = {},
  ) {
    this.prng = new Prng(options.seed ?? 1)
    const keys = { inviter: this.prng.bytes(32), accepter: this.prng.bytes(32) }
    const common = { keys, hops: HOPS, patience: 2_000, timeout: 10_000, random: this.prng.bytes }
    const remote = options.remote ?? {
      inviter: [{ kind: 'reflexive' as const, endpoint: ACCEPTER }],
      accepter: [{ kind: 'reflexive' as const, endpoint: INVITER }],
    }
    this.inviter = new Punch({ ...common, role: 'inviter', remote: remote.inviter, ...options.inviter }, 0)
    this.accepter = new Punch(
      { ...common, role: 'accepter', remote: remote.accepter, ...options.accepter },
      0,
    )
  }

  /** Runs for `ms`, or until `stop` says so. */
  run(ms: number, stop: () => boolean = () => false): void {
    const end = this.now + ms
    for (; this.now < end && !stop(); this.now++) {
      const arriving = this.#flying
      this.#flying = []
      for (const datagram of arriving) this.deliver(datagram)
      for (const role of ['inviter', 'accepter'] as const) {
        if (this[role].due.at <= this.now) this[role].tick(this.now)
        this.#collect(role)
      }
    }
  }

  /** Lets a datagram arrive now, as if it came from `from`. */
  deliver(datagram: Sent, from?: Endpoint): void {
    const route = this.routes.find(({ by, to }) => by === datagram.by && sameEndpoint(to, datagram.to))
    if (!route && !from) return
    const target = datagram.by === 'inviter' ? this.accepter : this.inviter
    target.receive(this.now, datagram.data, from ?? (route as { from: Endpoint }).from)
  }

  by(role: RoleName): Sent[] {
    return this.sent.filter(({ by }) => by === role)
  }

  #collect(role: RoleName): void {
    for (const transmit of this[role].transmits()) {
      const datagram = { ...transmit, by: role, at: this.now }
      this.sent.push(datagram)
      if (this.passes(datagram)) this.#flying.push(datagram)
    }
  }

  get over(): boolean {
    const ended = (name: string) => name === 'succeeded' || name === 'failed'
    return ended(this.inviter.state.name) && ended(this.accepter.state.name)
  }
}
