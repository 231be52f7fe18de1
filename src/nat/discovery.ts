import {
  type Due,
  type Endpoint,
  earliest,
  type Family,
  formatEndpoint,
  NEVER,
  type Random,
  sameEndpoint,
} from '../net/index.js'
import { allocationOf, mappingOf, type Observation, poolingOf } from './classify.js'
import { evidenceOf, findingOf, findingOfName } from './evidence.js'
import { FilterTest } from './filter-test.js'
import { HairpinTest } from './hairpin-test.js'
import { HopTest } from './hop-test.js'
import { isAlternate, PATIENCE, Question } from './question.js'
import type { FamilyReport, Missing, Sample, ServerFinding, Verdict } from './report.js'
import { type Depth, FIRST_SAMPLE, MAIN, roleOf, SAMPLES, SOCKETS_OF, type Transmit } from './sockets.js'
import { DISCOVERY_END, type DiscoveryWhy, GRACE, WAIT } from './waits.js'

export interface DiscoveryOptions {
  readonly family: Family
  /** Every server that will be added or given up on. */
  readonly names: readonly string[]
  /** The local port of each socket. */
  readonly locals: readonly number[]
  /** This machine's addresses. */
  readonly own: ReadonlySet<string>
  readonly random: Random
  readonly depth: Depth
}

/** A server that is asked from the main socket. */
interface Asked {
  readonly name: string
  readonly question: Question
}

/**
 * Finds out what the NAT of one address family does, without socket or timer: it is told the time and what came in, and
 * says what to send and when it wants to be called next. Every test begins as soon as what it needs is known, beside
 * the others. All times are in ms.
 *
 * Its calls: `ask` or `fail` once for each name; `receive`, `hurry`, and `tick` when it is due; after each of them `transmits`,
 * `state` and `due`.
 */
export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #started: number
  readonly #end: number
  /** The same while nobody has answered. */
  #silentEnd: number
  readonly #unresolved: Set<string>
  readonly #failed = new Map<string, string>()
  readonly #asked: Asked[] = []
  #samples: Question[] = []
  #alternates:
    | { readonly server: Endpoint; readonly other: Endpoint; readonly questions: readonly Question[] }
    | undefined
  #filter: FilterTest | undefined
  #hairpin: HairpinTest | undefined
  #hops: HopTest | undefined
  #firstAnswer: number | undefined
  #transmits: Transmit[] = []
  #state: 'running' | 'over' = 'running'
  /** When it was called last. */
  #now: number

  constructor(options: DiscoveryOptions, now: number) {
    const needed = SOCKETS_OF[options.depth]
    if (options.locals.length < needed) throw new RangeError(`a discovery needs ${needed} sockets`)
    this.#options = options
    this.#started = now
    this.#now = now
    this.#end = now + DISCOVERY_END
    this.#silentEnd = this.#end
    this.#unresolved = new Set(options.names)
  }

  get family(): Family {
    return this.#options.family
  }

  get state(): 'running' | 'over' {
    return this.#state
  }

  /** Whether anybody has answered. */
  get heard(): boolean {
    return this.#firstAnswer !== undefined
  }

  /** The endpoints that were asked from the main socket. */
  get servers(): Endpoint[] {
    return this.#asked.map(({ question }) => question.to)
  }

  /** When it wants its next tick, and why; never when it is over. */
  get due(): Due<DiscoveryWhy> {
    if (this.#state === 'over') return NEVER
    const settles = this.#firstAnswer === undefined ? 0 : this.#settleAt()
    return earliest<DiscoveryWhy>(
      ...this.#questions().map(({ due }) => due),
      this.#filter?.due ?? NEVER,
      this.#hairpin?.due ?? NEVER,
      this.#hops?.due ?? NEVER,
      settles > this.#now ? { at: settles, why: 'settle' } : NEVER,
      { at: this.heard ? this.#end : this.#silentEnd, why: 'end' },
    )
  }

  /** The datagrams to send now, in this order; each is given once. */
  transmits(): Transmit[] {
    const transmits = this.#transmits
    this.#transmits = []
    return transmits
  }

  /** A name has resolved: asks each of its endpoints, unless it is being asked already. */
  ask(now: number, name: string, endpoints: readonly Endpoint[]): void {
    if (!this.#unresolved.delete(name) || this.#state === 'over') return
    for (const to of endpoints) {
      if (this.servers.some((server) => sameEndpoint(server, to))) continue
      this.#asked.push({ name, question: this.#question(now, MAIN, to) })
    }
    this.tick(now)
  }

  /** A name has not resolved to anything that can be asked in this family. */
  fail(now: number, name: string, why: string): void {
    if (!this.#unresolved.delete(name)) return
    this.#failed.set(name, why)
    this.tick(now)
  }

  /** It shall be over by then (ms) if nobody has answered. Only the first call counts. */
  hurry(until: number): void {
    if (this.#silentEnd === this.#end) this.#silentEnd = Math.min(this.#end, until)
  }

  receive(now: number, socket: number, data: Uint8Array, from: Endpoint): void {
    if (this.#state === 'over') return
    for (const question of this.#questions())
      if (question.socket === socket) question.receive(now, data, from)
    this.#filter?.receive(now, socket, data, from)
    this.#hairpin?.receive(socket, data)
    this.#hops?.receive(now, socket, data, from)
    this.tick(now)
  }

  tick(now: number): void {
    this.#now = now
    if (this.#state === 'over') return
    if (now >= (this.heard ? this.#end : this.#silentEnd)) {
      this.#finish()
      return
    }
    this.#begin(now)
    for (const question of this.#questions()) {
      const data = question.tick(now)
      if (data) this.#transmits.push({ socket: question.socket, data, to: question.to })
    }
    for (const test of [this.#filter, this.#hairpin, this.#hops])
      if (test) this.#transmits.push(...test.tick(now))
    this.#begin(now)
    if (this.#isOver(now)) this.#finish()
  }

  /** Begins every test whose needs are met by now. */
  #begin(now: number): void {
    const answered = this.#asked.flatMap(({ question }) =>
      question.answer.is === 'answered' ? [{ question, answer: question.answer }] : [],
    )
    const [first] = answered
    if (first && this.#firstAnswer === undefined) {
      this.#firstAnswer = now
      const samples = this.#options.depth === 'inviter' ? 0 : SAMPLES
      this.#samples = Array.from({ length: samples }, (_, n) =>
        this.#question(now, FIRST_SAMPLE + n, first.question.to),
      )
    }
    if (!this.#alternates) {
      for (const { question, answer } of answered) {
        const { to: server } = question
        if (!answer.other || !isAlternate(server, answer.other)) continue
        const { other } = answer
        // RFC 5780 section 4.3: the other address with the same port, then with the other port too
        const targets = [{ address: other.address, port: server.port }, other]
        const questions = targets.map((to) => this.#question(now, MAIN, to, this.#wait() * 2))
        this.#alternates = { server, other, questions }
        break
      }
    }
    const { questions = [], server, other } = this.#alternates ?? {}
    if (!this.#filter && server && other && !questions.some(({ answer }) => answer.is === 'waiting')) {
      // all of them answer, or it would not be the filter that keeps an answer away
      if (questions.every(({ answer }) => answer.is === 'answered')) {
        const { random, depth } = this.#options
        const gentle = depth !== 'whole'
        const { mapping } = mappingOf(this.#observations())
        if (gentle && mapping !== 'endpoint-independent') return
        this.#filter = new FilterTest({ now, random, server, other, mapping, wait: this.#wait(), gentle })
        this.#transmits.push(...this.#filter.tick(now))
      }
    }
    this.#beginHops(now)
    if (!this.#hairpin && this.#options.depth === 'whole' && this.#translated()) {
      const [one, two] = this.#samples.map(({ answer }) => answer)
      if (one?.is === 'answered' && two?.is === 'answered') {
        const { random } = this.#options
        this.#hairpin = new HairpinTest([one.mapped, two.mapped], { now, random, wait: this.#wait() })
        this.#transmits.push(...this.#hairpin.tick(now))
      }
    }
  }

  /** Begins the count of the routers where it works, and harms nobody. */
  #beginHops(now: number): void {
    if (this.#options.depth !== 'whole') return
    const unasked = this.#filter?.unasked
    if (this.#hops || !this.#alternates || (unasked !== 'dropped' && unasked !== 'moves the mapping')) return
    if (mappingOf(this.#observations()).mapping !== 'endpoint-independent') return
    const { server, other } = this.#alternates
    this.#hops = new HopTest(server, other, { now, random: this.#options.random, wait: this.#wait() })
    this.#transmits.push(...this.#hops.tick(now))
  }

  /** How long to wait for what may be filtered. */
  #wait(): number {
    return Math.min(WAIT.most, Math.max(WAIT.least, WAIT.roundTrips * this.#rtt() + 150))
  }

  #rtt(): number {
    const times = this.#asked.flatMap(({ question: { answer } }) =>
      answer.is === 'answered' ? [answer.rtt] : [],
    )
    return times.length === 0 ? 0 : Math.min(...times)
  }

  #settleAt(): number {
    const addresses = new Set(this.#observations().map(({ destination }) => destination.address))
    return (this.#firstAnswer ?? 0) + (addresses.size > 1 ? GRACE.two : GRACE.one)
  }

  #isOver(now: number): boolean {
    const waiting = ({ answer }: Question) => answer.is === 'waiting'
    const asking = this.#unresolved.size > 0 || this.#asked.some(({ question }) => waiting(question))
    if (asking && (this.#firstAnswer === undefined || now < this.#settleAt())) return false
    if (this.#samples.some(waiting) || this.#alternates?.questions.some(waiting)) return false
    if (this.#filter && !this.#filter.finding) return false
    return this.#hairpin?.state !== 'waiting' && this.#hops?.over !== false
  }

  #finish(): void {
    this.#state = 'over'
    for (const question of this.#questions()) question.giveUp()
    this.#filter?.giveUp()
    this.#hairpin?.giveUp()
    this.#hops?.giveUp()
    this.#transmits = []
  }

  #question(now: number, socket: number, to: Endpoint, patience = PATIENCE): Question {
    return new Question(socket, to, { now, random: this.#options.random, patience })
  }

  /** Those that belong to no test. */
  #questions(): Question[] {
    return [
      ...this.#asked.map(({ question }) => question),
      ...this.#samples,
      ...(this.#alternates?.questions ?? []),
    ]
  }

  /** What destinations saw of the main socket. */
  #observations(): Observation[] {
    return this.#questions().flatMap(({ socket, to, answer }) =>
      socket === MAIN && answer.is === 'answered' ? [{ destination: to, mapped: answer.mapped }] : [],
    )
  }

  #publicAddresses(): string[] {
    const questions = [...this.#questions(), ...(this.#filter?.questions ?? [])]
    const seen = questions.flatMap(({ answer }) => (answer.is === 'answered' ? [answer.mapped.address] : []))
    return [...new Set(seen)]
  }

  #translated(): boolean {
    const addresses = this.#publicAddresses()
    return addresses.length > 0 && addresses.every((address) => !this.#options.own.has(address))
  }

  /** What was found, once somebody has answered. @param own the local address on the way to the servers */
  report(own: string | undefined): FamilyReport | undefined {
    if (this.#firstAnswer === undefined) return undefined
    const { family, locals } = this.#options
    const missing: Missing[] = []
    const samples: Sample[] = this.#samples.flatMap(({ socket, answer }) =>
      answer.is === 'answered' ? [{ inside: locals[socket] ?? 0, outside: answer.mapped }] : [],
    )
    const { mapping, why } = mappingOf(this.#observations())
    if (why !== undefined) missing.push({ what: 'mapping', why })
    const filter = this.#filter?.finding
    const unfiltered = filter?.why ?? (filter ? undefined : this.#whyNoFilter())
    if (unfiltered !== undefined) missing.push({ what: 'filtering', why: unfiltered })
    const allocation = allocationOf(samples)
    if (allocation.kind === 'unknown')
      missing.push({
        what: 'port allocation',
        why: `only ${samples.length} of ${SAMPLES} fresh sockets were answered`,
      })
    const translated = this.#translated()
    const hairpins: Record<HairpinTest['state'], Verdict> = {
      heard: 'yes',
      'not heard': 'no',
      waiting: 'unknown',
    }
    const hairpin = this.#hairpin ? hairpins[this.#hairpin.state] : 'unknown'
    if (translated && hairpin === 'unknown')
      missing.push({ what: 'hairpinning', why: 'it needs two sockets with known public endpoints' })
    return {
      family,
      own,
      publicAddresses: this.#publicAddresses(),
      translated,
      mapping: translated ? mapping : 'endpoint-independent',
      filtering: filter?.filtering ?? 'unknown',
      allocation,
      pooling: translated ? poolingOf(samples.map(({ outside }) => outside.address)) : 'paired',
      hairpin,
      unasked: filter?.unasked ?? 'unknown',
      hops: this.#hops?.hops,
      samples,
      rtt: this.#rtt(),
      missing: translated ? missing : missing.filter(({ what }) => what === 'filtering'),
    }
  }

  #whyNoFilter(): string {
    if (this.#options.depth !== 'whole' && this.#alternates) return 'only the mapping was measured'
    return this.#alternates
      ? "the server's other address did not answer"
      : 'no server that answered has a second address (RFC 5780)'
  }

  /** What became of each name; one with several addresses has several findings. */
  findings(): ServerFinding[] {
    return [
      ...[...this.#failed].map(([name, why]) => findingOfName(name, why)),
      ...[...this.#unresolved].map((name) => findingOfName(name, 'its name did not resolve in time')),
      ...this.#asked.map(({ name, question }) => findingOf(name, question)),
    ]
  }

  /** Every question and what came of it, a line each. */
  evidence(): string[] {
    const { locals } = this.#options
    const who = (socket: number) => `${roleOf(socket)}, port ${locals[socket]}`
    const tested = [...(this.#filter?.questions ?? []), ...(this.#hops?.questions ?? [])]
    const questions = [...this.#questions(), ...tested]
    const lines = questions.map((question) => evidenceOf(question, this.#started, who(question.socket)))
    if (this.#hairpin) {
      const [one, two] = this.#hairpin.targets
      lines.push(
        `two samples sent to ${formatEndpoint(one)} and ${formatEndpoint(two)}, each other's public endpoints: ${this.#hairpin.state}`,
      )
    }
    return lines
  }
}
