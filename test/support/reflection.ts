import * as net from '../../src/net/index.js'
import { ProbeCipher } from '../../src/punch/cipher.js'
import { type Candidate, Punch, type PunchOptions, type Transmit } from '../../src/punch/index.js'
import { encodeProbe, NO_COUNTER, type Probe } from '../../src/punch/probe.js'
import { NO_HINT, type Prospect } from '../../src/punch/prospect.js'
import { encodeTransportAddress } from '../../src/punch/transport-address.js'
import { Prng } from '../simulation/prng.js'

/** Whom an authentic but hostile peer would like to have packets sent to. */
export const VICTIM = '203.0.113.77'
/** Where the hostile peer is itself. */
const PEER = { address: '198.51.100.9', port: 4000 }
const NOTHING = Buffer.alloc(8)

/** What came to the third party, which never answers. */
export interface Harm {
  readonly packets: number
  readonly endpoints: number
  /** Most packets within one second. */
  readonly peak: number
  /** Packets that went out in the very call that took what the peer had sent. */
  readonly immediate: number
}

/** The accepters of one process, as a hostile peer meets them, in virtual time of 1 ms steps. */
export class Target {
  now = 0
  readonly #prng = new Prng(7)
  readonly #sent: { readonly at: number; readonly to: string }[] = []
  readonly #sessions = new Map<Punch, { readonly attacker: ProbeCipher; counter: number }>()
  /** One for all, as in a process; a build without it has none. */
  readonly #governor = 'Governor' in net ? new net.Governor() : undefined
  #immediate = 0

  /** Begins a session of this identity, whose offer names these endpoints. */
  begin(identity: string, remote: readonly Candidate[], more: Partial<PunchOptions> = {}): Punch {
    const keys = { inviter: this.#prng.bytes(32), accepter: this.#prng.bytes(32) }
    const options = {
      role: 'accepter',
      keys,
      remote,
      hops: 7,
      patience: 1000,
      timeout: 60_000,
      random: this.#prng.bytes,
      ...(this.#governor ? { allowance: this.#governor.allowance(identity) } : {}),
      ...more,
    } as const
    const punch = new Punch(options, this.now)
    const attacker = new ProbeCipher(keys.inviter, keys.accepter, this.#prng.bytes)
    this.#sessions.set(punch, { attacker, counter: 0 })
    return punch
  }

  /** An authentic datagram of the peer, from wherever it says. */
  say(punch: Punch, probe: Partial<Probe>, from: net.Endpoint): void {
    const session = this.#sessions.get(punch)
    if (!session) return
    const full: Probe = {
      type: 'check',
      counter: session.counter++,
      nomination: 0,
      remaining: 0,
      challenge: NOTHING,
      echo: NOTHING,
      echoCounter: NO_COUNTER,
      observed: Buffer.alloc(19),
      path: Buffer.alloc(19),
      reason: '',
      ...probe,
    }
    this.#collect(punch)
    punch.receive(this.now, session.attacker.seal(encodeProbe(full)), from)
    this.#immediate += this.#collect(punch)
  }

  run(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now++) {
      for (const punch of this.#sessions.keys()) {
        if (punch.wantsSearch(this.now)) punch.permitSearch(this.now)
        if (punch.due.at <= this.now) punch.tick(this.now)
        this.#collect(punch)
        if (punch.state.name === 'failed') this.#sessions.delete(punch)
      }
    }
  }

  /** How many packets of the last call went to the third party. */
  #collect(punch: Punch): number {
    const harmful = punch.transmits().filter(({ to }: Transmit) => to.address === VICTIM)
    for (const { to } of harmful) this.#sent.push({ at: this.now, to: net.formatEndpoint(to) })
    return harmful.length
  }

  get harm(): Harm {
    const seconds = new Map<number, number>()
    for (const { at } of this.#sent) {
      const second = Math.floor(at / 1000)
      seconds.set(second, (seconds.get(second) ?? 0) + 1)
    }
    return {
      packets: this.#sent.length,
      endpoints: new Set(this.#sent.map(({ to }) => to)).size,
      peak: Math.max(0, ...seconds.values()),
      immediate: this.#immediate,
    }
  }
}

const victim = (port: number): net.Endpoint => ({ address: VICTIM, port })

function offer(from: number, count = 32): Candidate[] {
  return Array.from({ length: count }, (_, n) => ({ kind: 'reflexive', endpoint: victim(from + n) }))
}

/** The peer's offer says that its NAT is symmetric and at the third party's address: its ports are to be searched. */
function searched(): Prospect {
  return {
    nat: { ...NO_HINT, mapping: 'address-dependent', allocation: { kind: 'random' }, ports: [] },
    candidates: offer(4000, 1),
    seek: true,
    sockets: 512,
  }
}

const cone = (): Prospect => ({
  nat: { ...NO_HINT, mapping: 'endpoint-independent' },
  candidates: [],
  seek: true,
  sockets: 512,
})

/** Every way in which what a peer sends brings about packets to endpoints that have not answered. */
export const ATTACKS: Readonly<Record<string, () => Harm>> = {
  '20,000 NOMINATEs in 5 s that name one endpoint': () => {
    const target = new Target()
    const punch = target.begin('mallory', offer(1, 1))
    const path = encodeTransportAddress(victim(1))
    for (let ms = 0; ms < 5000; ms++) {
      for (let n = 0; n < 4; n++) {
        target.say(punch, { type: 'nominate', nomination: 1, remaining: 2000, path }, PEER)
      }
      target.run(1)
    }
    return target.harm
  },
  '20,000 NOMINATEs in 5 s that name 32 endpoints in turn': () => {
    const target = new Target()
    const punch = target.begin('mallory', offer(1))
    for (let ms = 0; ms < 5000; ms++) {
      for (let n = 0; n < 4; n++) {
        const path = encodeTransportAddress(victim(1 + ((ms + n) % 32)))
        target.say(punch, { type: 'nominate', nomination: 1, remaining: 2000, path }, PEER)
      }
      target.run(1)
    }
    return target.harm
  },
  '20,000 CHECKs in 5 s that pretend to come from 32 endpoints': () => {
    const target = new Target()
    const punch = target.begin('mallory', [])
    for (let ms = 0; ms < 5000; ms++) {
      for (let n = 0; n < 4; n++) target.say(punch, {}, victim(1 + ((4 * ms + n) % 32)))
      target.run(1)
    }
    return target.harm
  },
  '16 sessions for a minute, 32 endpoints each': () => {
    const target = new Target()
    for (let n = 0; n < 16; n++) target.begin(`mallory-${n % 2}`, offer(1 + 32 * n))
    target.run(60_000)
    return target.harm
  },
  '120 sessions in a minute, each given up after half a second': () => {
    const target = new Target()
    for (let n = 0; n < 120; n++) {
      const punch = target.begin('mallory', offer(1 + 32 * n))
      target.run(500)
      punch.abort(target.now, 'CANCELLED')
    }
    return target.harm
  },
  'a new set of candidates in each of 600 updates': () => {
    const target = new Target()
    const punch = target.begin('mallory', [])
    for (let n = 0; n < 600; n++) {
      punch.addCandidates(target.now, offer(1 + 32 * n))
      target.run(100)
    }
    return target.harm
  },
  '20 searches one after the other, 10 minutes, the peer is heard once in each': () => {
    const target = new Target()
    for (let n = 0; n < 20; n++) {
      const prospects = { own: cone(), peer: searched(), base: 0, failures: 0 }
      const punch = target.begin('mallory', offer(4000, 1), { prospects, timeout: 30_000 })
      target.run(25_000)
      target.say(punch, {}, PEER)
      target.run(5_000)
    }
    return target.harm
  },
}
