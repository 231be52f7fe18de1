import { formatIdentity } from '../identity/index.js'
import type { Endpoint, Logger, UdpPort } from '../net/index.js'
import type { PairingContext, Passage as Punched, Role } from '../pairing/index.js'
import type { CandidateKind } from '../punch/index.js'
import { IdentityWitness } from '../sealing/index.js'
import type { Witness } from '../wormhole/index.js'

/**
 * An open hole through both NATs, confirmed by both sides: communicate through `socket`, or `release` the port and
 * bind it with another program. Call either `socket.close()` or `release()`.
 *
 * Nothing keeps the NATs' mappings alive from here on: send something every 15 s or so. In the first second a few
 * datagrams of the punch may still come in, and a few of the peer's may be lost: whatever is spoken has to bear both.
 */
export interface Passage {
  readonly role: Role
  readonly app: string
  /** 16 bytes in hex; the logs of both sides show its first 8 digits. */
  readonly session: string
  /** `owner/pin` of this side. */
  readonly host: string
  /** `owner/pin` of the other side, proven by its certificate. */
  readonly peer: string
  /** The concrete local address and port of the path. */
  readonly inner: Endpoint
  /** The same as the internet sees it. */
  readonly outer: Endpoint
  /** Where to send, and where the peer's datagrams come from. */
  readonly faraway: Endpoint
  /** What kind of path it is: `host` within a network, `reflexive` and the like through NATs. */
  readonly kind: CandidateKind
  /** Round-trip time of the path in ms, as far as it was measured. */
  readonly rtt: number | undefined
  /** 32 bytes that only the two sides know, new for each passage: a key for what is spoken. Keep it out of logs. */
  readonly key: Buffer
  /**
   * `length` bytes (1 to 8160) more, for another use: take one label for each use and direction.
   * The same label gives both sides the same bytes.
   */
  expand(label: string, length: number): Buffer
  /**
   * The punched port, open. What is sent to `faraway` goes through the hole, without encryption of its own. A port mapping
   * that the path needs is held until it is closed.
   */
  readonly socket: UdpPort
  /**
   * Closes the port, so that something else can bind it. A port mapping that the path needs stands for ten minutes more.
   * @returns `inner`, once the port is free: bind exactly this, soon, while the NATs remember
   */
  release(): Promise<Endpoint>
  /** Closes the socket, at the end of an `await using`. After `release` it does nothing. */
  [Symbol.asyncDispose](): Promise<void>
}

/** In ms, to a hundredth: what is below that is noise. */
export function roundTrip(rtt: number | undefined): number | undefined {
  return rtt === undefined ? undefined : Math.round(rtt * 100) / 100
}

/** Beside the labels that this program uses itself, so that no use of an embedder can meet one of them. */
const LABEL = 'application '

/** Who proves this side's identity again in a tunnel on a passage. */
const witnesses = new WeakMap<Passage, (log: Logger) => Witness>()

/** The witness of a tunnel on this passage; nothing for one that was not made here. */
export function witnessOf(passage: Passage, log: Logger): Witness | undefined {
  return witnesses.get(passage)?.(log)
}

/** The face of a passage for a program. */
export function passageOf(punched: Punched, context: PairingContext): Passage {
  const { role, app, session, host, peer, inner, outer, faraway, kind, rtt, keys, port, portMapping } =
    punched
  let letGo = (): unknown => portMapping?.release()
  void port.closed.then(() => letGo())
  const passage: Passage = {
    role,
    app,
    session,
    host: formatIdentity(host),
    peer: formatIdentity(peer),
    inner,
    outer,
    faraway,
    kind,
    rtt: roundTrip(rtt),
    key: keys.key,
    expand: (label, length) => keys.expand(LABEL + label, length),
    socket: port,
    async release() {
      // whoever binds the port next goes on with the mapping
      letGo = () => portMapping?.abandon()
      await port.close()
      return inner
    },
    [Symbol.asyncDispose]: () => port.close(),
  }
  const { repository, host: own, clock } = context
  witnesses.set(passage, (log) => new IdentityWitness({ repository, host: own, peer, clock, log }))
  return passage
}
