import type { Endpoint } from '../../src/net/index.js'
import { type Flag, Handshake, readDatagram, writeDatagram } from '../../src/plexus3/index.js'
import type { Prng } from './prng.js'

/** What the C++ peer does, from the facts about it: it says each thing once, and closes its port when it is done. */
export type Kind = 'ours' | 'c++' | 'c++ server'

export interface Weather {
  /** Probability that a datagram is lost between the two NATs. */
  readonly loss: number
  /** One-way, in ms. */
  readonly delay: number
  /** Loses the inviter's first flag 1: of a C++ inviter that is its only one, and its last datagram. */
  readonly lastLost?: boolean
}

export interface Outcome {
  readonly inviter: string
  readonly accepter: string
  /** When the later of the two was done, in ms. */
  readonly took: number
}

type Role = 'inviter' | 'accepter'
interface Sent {
  readonly data: Buffer
  readonly flag: Flag
  readonly ttl?: number
}

/** One side as the network sees it. */
interface Side {
  receive(now: number, data: Buffer, from: Endpoint): void
  tick(now: number): void
  transmits(): readonly Sent[]
  readonly deadline: number
  readonly outcome: string
}

const SECRET = 0x0123_4567_89ab_cdefn
const AT: Readonly<Record<Role, Endpoint>> = {
  inviter: { address: '203.0.113.1', port: 4001 },
  accepter: { address: '203.0.113.2', port: 4002 },
}
const HOPS = 7
/** Routers between the two NATs: a datagram with a TTL of 7 dies there. */
const DISTANCE = 12
const TIMEOUT = 60_000
const WAIT = 1_600

function ours(role: Role, prng: Prng): Side {
  const peer = AT[role === 'inviter' ? 'accepter' : 'inviter']
  const core = new Handshake(
    { role, secret: SECRET, peer, hops: HOPS, timeout: TIMEOUT, random: prng.bytes },
    0,
  )
  return {
    receive: (now, data, from) => void core.receive(now, data, from),
    tick: (now) => core.tick(now),
    transmits: () => core.transmits(),
    get deadline() {
      return core.due.at
    },
    get outcome() {
      return core.state.name
    },
  }
}

function theirs(role: Role, prng: Prng, done: 'first' | 'full'): Side {
  let out: Sent[] = []
  let next = 0
  let outcome = 'waiting'
  const say = (flag: Flag, ttl?: number) => {
    const data = writeDatagram(flag, SECRET, prng.bytes)
    out.push(ttl === undefined ? { data, flag } : { data, flag, ttl })
  }
  return {
    receive(_now, data) {
      const flag = readDatagram(data, SECRET)
      if (outcome !== 'waiting' || flag === undefined) return
      if (role === 'inviter') {
        if (flag === 0) return
        say(1)
        outcome = 'succeeded'
      } else {
        if (flag === 0) say(1)
        if (flag === 1 || done === 'first') outcome = 'succeeded'
      }
    },
    tick(now) {
      if (outcome !== 'waiting' || now < next) return
      if (now >= TIMEOUT) outcome = 'failed'
      else if (role === 'inviter') say(0)
      else if (now === 0) say(0, HOPS)
      next = role === 'inviter' ? now + WAIT : TIMEOUT
    },
    transmits() {
      const sent = out
      out = []
      return sent
    },
    get deadline() {
      return outcome === 'waiting' ? next : Number.POSITIVE_INFINITY
    },
    get outcome() {
      return outcome
    },
  }
}

/** Both sides behind NATs that let in only what comes from where something was sent to. */
export function pair(kinds: Readonly<Record<Role, Kind>>, weather: Weather, prng: Prng): Outcome {
  const make = (role: Role) =>
    kinds[role] === 'ours' ? ours(role, prng) : theirs(role, prng, kinds[role] === 'c++' ? 'full' : 'first')
  const sides: Record<Role, Side> = { inviter: make('inviter'), accepter: make('accepter') }
  const opened = new Set<Role>()
  let onTheWay: { readonly to: Role; readonly data: Buffer; readonly at: number }[] = []
  let now = 0
  let took = 0
  let lastFlag = weather.lastLost ? 'to come' : 'gone'
  const over = (side: Side) => side.outcome === 'succeeded' || side.outcome === 'failed'
  while (!over(sides.inviter) || !over(sides.accepter)) {
    for (const role of ['inviter', 'accepter'] as const) {
      const before = over(sides[role])
      sides[role].tick(now)
      for (const { to, data } of onTheWay.filter((packet) => packet.to === role && packet.at <= now)) {
        if (opened.has(to)) sides[to].receive(now, data, AT[to === 'inviter' ? 'accepter' : 'inviter'])
      }
      onTheWay = onTheWay.filter((packet) => packet.to !== role || packet.at > now)
      for (const { data, ttl, flag } of sides[role].transmits()) {
        opened.add(role)
        const last = lastFlag === 'to come' && role === 'inviter' && flag === 1
        if (last) lastFlag = 'gone'
        if (last || prng.chance(weather.loss) || (ttl ?? 64) < DISTANCE) continue
        onTheWay.push({ to: role === 'inviter' ? 'accepter' : 'inviter', data, at: now + weather.delay })
      }
      if (!before && over(sides[role])) took = now
    }
    const times = [sides.inviter.deadline, sides.accepter.deadline, ...onTheWay.map(({ at }) => at)]
    now = Math.max(now, Math.min(...times))
    if (now > 2 * TIMEOUT) break
  }
  return { inviter: sides.inviter.outcome, accepter: sides.accepter.outcome, took }
}
