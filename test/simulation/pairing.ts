import { createHash } from 'node:crypto'
import { type Endpoint, formatEndpoint, sameEndpoint } from '../../src/net/index.js'
import {
  allocationOf,
  type Candidate,
  MAX_PORTS,
  MAX_SEARCH_SOCKETS,
  type NatHint,
  NO_HINT,
  type Prospect,
  Punch,
  type PunchFailure,
  type PunchOptions,
  type PunchResult,
} from '../../src/punch/index.js'
import { canConnect, Nat, type NatBehaviour } from './nat.js'
import { innerOf, line, Network, PRIVATE, type SimulatedHost, type Weather } from './network.js'
import { Prng } from './prng.js'

/** One pairing to simulate. Times in ms. */
export interface Scenario {
  readonly seed: number
  /** Behind what a side is; undefined is a public address. */
  readonly inviter: NatBehaviour | undefined
  readonly accepter: NatBehaviour | undefined
  /** Both on one LAN, behind the inviter's NAT. */
  readonly sameLan?: boolean
  readonly weather: Weather
  /** How much later than the accepter the inviter starts; negative if earlier. */
  readonly lag: number
  readonly hops: number
  readonly patience: number
  readonly timeout: number
  /** A side whose machine stands still for a while, from a time on: what arrives meanwhile is read afterwards. */
  readonly stall?: { readonly side: 'inviter' | 'accepter'; readonly at: number; readonly length: number }
  /** Each side says what its NAT is, and tries what the planner makes of that. */
  readonly hints?: boolean
  /** Whether it also knows whom its NAT lets in. */
  readonly knowsFiltering?: boolean
  /** How many mappings the others in the house open on either side between offer and punch. */
  readonly drift?: number
  /** When a side is cancelled, by role. */
  readonly cancel?: { readonly inviter?: number; readonly accepter?: number }
}

/** How one side ended. */
export type Ending =
  | { readonly name: 'passage'; readonly result: PunchResult; readonly after: number }
  | { readonly name: 'failure'; readonly failure: PunchFailure; readonly after: number }

export interface Outcome {
  readonly inviter: Ending
  readonly accepter: Ending
  /** `disagreement`: one side has a passage, the other none. `crossed`: both have one, but it leads elsewhere. */
  readonly verdict: 'passage' | 'failure' | 'disagreement' | 'crossed'
  /** What theory says: a direct path exists. */
  readonly possible: boolean
  readonly datagrams: number
  /** What was tried beyond the direct attempt, of each side. */
  readonly spent: Record<'inviter' | 'accepter', { readonly packets: number; readonly sockets: number }>
  /** When the first packet of a search was sent; undefined when there was none. */
  readonly searchBegan: number | undefined
  /** SHA-256 of everything that was sent, and when. */
  readonly digest: string
}

const STUN: Endpoint = { address: '198.41.0.4', port: 3478 }

/** What of a timer's lateness is simulated, in ms. */
const TIMER_LATENESS = 2

type Keys = PunchOptions['keys']
const NOTHING = { packets: 0, sockets: 0 }

const FILTERING = {
  independent: 'endpoint-independent',
  address: 'address-dependent',
  'address and port': 'address-and-port-dependent',
} as const

/** The sockets from which ports are sampled. */
const SAMPLERS = 900

/** The same machine does not have the same clock on both sides. */
const EPOCH = { inviter: 1_000_000, accepter: 5 }

class Side implements SimulatedHost {
  readonly name: 'inviter' | 'accepter'
  readonly inner: Endpoint
  readonly lan: number
  readonly nat: Nat | undefined
  ending: Ending | undefined
  punch: Punch | undefined
  readonly #network: Network
  readonly #prng: Prng
  readonly #log: (text: string) => void
  #started = 0
  /** What arrives while the machine stands still. */
  #buffer: { data: Buffer; from: Endpoint; socket: number }[] | undefined
  searchBegan: number | undefined
  #wake = 0

  constructor(
    name: 'inviter' | 'accepter',
    place: { inner: Endpoint; lan: number; nat: Nat | undefined },
    run: { network: Network; prng: Prng; log: (text: string) => void },
  ) {
    this.name = name
    this.inner = place.inner
    this.lan = place.lan
    this.nat = place.nat
    this.#network = run.network
    this.#prng = run.prng
    this.#log = run.log
  }

  /** Its own candidates, as it would offer them; asks STUN on the way. */
  candidates(): Candidate[] {
    const reflexive = this.nat?.outbound(this.#network.now, this.inner, STUN)
    const host: Candidate = { kind: 'host', endpoint: this.inner }
    return reflexive ? [host, { kind: 'reflexive', endpoint: reflexive }] : [host]
  }

  /** What it says of itself: it samples some ports for that. */
  prospect(behaviour: NatBehaviour | undefined, knowsFiltering = false): Prospect {
    const candidates = this.candidates()
    const symmetric = behaviour !== undefined && behaviour.mapping !== 'independent'
    const ports = symmetric
      ? Array.from(
          { length: MAX_PORTS },
          (_, n) => this.nat?.outbound(0, innerOf(this, SAMPLERS + n), STUN).port ?? 0,
        )
      : []
    const nat: NatHint = {
      ...NO_HINT,
      filtering: knowsFiltering && behaviour ? FILTERING[behaviour.filtering] : 'unknown',
      mapping: symmetric ? 'address-dependent' : 'endpoint-independent',
      allocation: allocationOf(ports),
      ports,
    }
    return { nat, candidates, seek: true, sockets: MAX_SEARCH_SOCKETS }
  }

  start(
    scenario: Scenario,
    keys: Keys,
    remote: Candidate[],
    prospects?: Record<Side['name'], Prospect>,
  ): void {
    const { hops, patience, timeout } = scenario
    this.#started = this.#network.now
    const options = { role: this.name, keys, remote, hops, patience, timeout, random: this.#prng.bytes }
    const known = prospects && {
      own: prospects[this.name],
      peer: prospects[this.name === 'inviter' ? 'accepter' : 'inviter'],
      base: this.name === 'inviter' ? 0 : Math.max(0, patience - 1000),
      failures: 0,
    }
    this.punch = new Punch({ ...options, ...(known ? { prospects: known } : {}) }, this.#time())
    this.punch.tick(this.#time())
    this.#carryOut()
  }

  receive(data: Buffer, from: Endpoint, socket: number): void {
    // a socket that was never sent from is not there
    if (!this.punch || this.ending || socket > this.punch.spent.sockets) return
    if (this.#buffer) {
      this.#buffer.push({ data, from, socket })
      return
    }
    this.punch.receive(this.#time(), data, from, socket)
    this.#carryOut()
  }

  /** The machine stands still for `length` ms; then its timers go off before its socket is read. */
  stall(length: number): void {
    const buffer: { data: Buffer; from: Endpoint; socket: number }[] = []
    this.#buffer = buffer
    this.#network.at(this.#network.now + length, () => {
      this.#buffer = undefined
      if (!this.punch || this.ending) return
      this.punch.tick(this.#time())
      this.#carryOut()
      for (const { data, from, socket } of buffer) this.receive(data, from, socket)
    })
  }

  cancel(): void {
    if (!this.punch || this.ending || this.#buffer) return
    this.punch.abort(this.#time(), 'CANCELLED')
    this.#carryOut()
  }

  #time(): number {
    return this.#network.now + EPOCH[this.name]
  }

  #carryOut(): void {
    const { punch } = this
    if (!punch) return
    if (punch.wantsSearch(this.#time())) {
      punch.permitSearch(this.#time())
      punch.tick(this.#time())
    }
    for (const { socket, data, to, ttl, type } of punch.transmits()) {
      this.#log(line(this.#network.now, this.name, type, to, ttl))
      this.#network.send(this, data, to, ttl, socket)
    }
    for (const event of punch.events()) {
      this.#log(`${this.name} ${event.name}\n`)
      if (event.name === 'attempt' && event.attempt.kind === 'seek') this.searchBegan ??= this.#network.now
    }
    const after = this.#network.now - this.#started
    const { state } = punch
    if (state.name === 'succeeded') this.ending = { name: 'passage', result: state.result, after }
    else if (state.name === 'failed') this.ending = { name: 'failure', failure: state.failure, after }
    else {
      const wake = ++this.#wake
      const due = punch.due.at - EPOCH[this.name] + this.#prng.between(0, TIMER_LATENESS)
      this.#network.at(due, () => {
        if (wake !== this.#wake || this.ending || this.#buffer) return
        punch.tick(this.#time())
        this.#carryOut()
      })
    }
  }
}

/** Runs one pairing to its end on both sides, in virtual time. */
export function simulate(scenario: Scenario): Outcome {
  const prng = new Prng(scenario.seed)
  const network = new Network(scenario.weather, prng)
  const hash = createHash('sha256')
  const run = { network, prng, log: (text: string) => void hash.update(text) }
  const natI = scenario.inviter && new Nat('192.88.1.1', scenario.inviter, prng)
  const natA = scenario.sameLan ? natI : scenario.accepter && new Nat('192.88.2.2', scenario.accepter, prng)
  // both private networks use the same prefix, as they do
  const place = (host: number, lan: number, nat: Nat | undefined) => ({
    inner: { address: nat ? `${PRIVATE}1.${host}` : `192.88.9.${host}`, port: prng.integer(1024, 64000) },
    lan,
    nat,
  })
  const inviter = new Side('inviter', place(10, 1, natI), run)
  const accepter = new Side('accepter', place(20, scenario.sameLan ? 1 : 2, natA), run)
  network.add(inviter)
  network.add(accepter)

  const keys = { inviter: prng.bytes(32), accepter: prng.bytes(32) }
  const offers = { inviter: inviter.candidates(), accepter: accepter.candidates() }
  const prospects = scenario.hints
    ? {
        inviter: inviter.prospect(scenario.inviter, scenario.knowsFiltering),
        accepter: accepter.prospect(scenario.accepter, scenario.knowsFiltering),
      }
    : undefined
  for (const nat of [natI, natA]) nat?.drift(scenario.drift ?? 0)
  network.at(Math.max(0, -scenario.lag), () => accepter.start(scenario, keys, offers.inviter, prospects))
  network.at(Math.max(0, scenario.lag), () => inviter.start(scenario, keys, offers.accepter, prospects))
  for (const side of [inviter, accepter]) {
    const when = scenario.cancel?.[side.name]
    if (when !== undefined) network.at(when, () => side.cancel())
  }
  const { stall } = scenario
  if (stall) network.at(stall.at, () => (stall.side === 'inviter' ? inviter : accepter).stall(stall.length))
  while (!inviter.ending || !accepter.ending) {
    if (!network.step()) throw new Error(`stuck with seed ${scenario.seed}`)
  }
  const possible = scenario.sameLan || canConnect(scenario.inviter, scenario.accepter)
  return {
    inviter: inviter.ending,
    accepter: accepter.ending,
    verdict: verdict(network, inviter, accepter),
    possible,
    datagrams: network.sent,
    spent: {
      inviter: inviter.punch?.spent ?? NOTHING,
      accepter: accepter.punch?.spent ?? NOTHING,
    },
    searchBegan: inviter.searchBegan ?? accepter.searchBegan,
    digest: hash.digest('hex'),
  }
}

function verdict(network: Network, inviter: Side, accepter: Side): Outcome['verdict'] {
  const [i, a] = [inviter.ending, accepter.ending]
  if (i?.name !== 'passage' || a?.name !== 'passage') return i?.name === a?.name ? 'failure' : 'disagreement'
  const leads = (from: [Side, PunchResult], to: [Side, PunchResult]) => {
    const trace = network.trace(from[0], from[1].peer, from[1].socket)
    return trace?.host === to[0] && trace.socket === to[1].socket && sameEndpoint(trace.from, to[1].peer)
  }
  return leads([inviter, i.result], [accepter, a.result]) && leads([accepter, a.result], [inviter, i.result])
    ? 'passage'
    : 'crossed'
}

/** For a failed assertion: enough to repeat the run. */
export function describe(scenario: Scenario, outcome: Outcome): string {
  const end = (ending: Ending) =>
    ending.name === 'passage'
      ? `passage to ${formatEndpoint(ending.result.peer)} after ${Math.round(ending.after)} ms`
      : `${ending.failure.code} ${ending.failure.reason} after ${Math.round(ending.after)} ms`
  const { inviter, accepter, verdict } = outcome
  return `${verdict}: inviter ${end(inviter)}, accepter ${end(accepter)}: ${JSON.stringify(scenario)}`
}
