import type { IdentityName } from '../identity/index.js'
import type { Endpoint, UdpPort } from '../net/index.js'
import type { PortMapping } from '../portmap/index.js'
import type { CandidateKind } from '../punch/index.js'
import type { SessionKeys } from '../sealing/index.js'
import type { Purpose } from './message.js'

export type Role = 'inviter' | 'accepter'

/** A hole that both sides know to be open. */
export interface Hole {
  readonly role: Role
  readonly app: string
  /** 16 bytes in hex; its first 8 digits stand in both logs. */
  readonly session: string
  readonly host: IdentityName
  readonly peer: IdentityName
  /** SHA-256 of the certificate by which the peer has proven who it is; nothing where nobody signed (plain mail of plexus 3.x). */
  readonly fingerprint: Buffer | undefined
  /** The concrete local address and port of the path. */
  readonly inner: Endpoint
  /** The same as the internet sees it: reflexive, or `inner` where nothing translates. */
  readonly outer: Endpoint
  /** Where the peer's packets come from on this path. */
  readonly faraway: Endpoint
  readonly kind: CandidateKind
  /** Round-trip time of the path in ms, as far as it was measured. */
  readonly rtt: number | undefined
  /** The punched port, still open. Whoever takes the passage closes it: a command can only then bind it. */
  readonly port: UdpPort
  /** The mapping on the local router that the path goes through: whoever takes the passage lets go of it at its end. */
  readonly portMapping?: PortMapping
}

/** Closes what a passage holds, when nothing is going to use it. */
export async function discard({ port, portMapping }: Pick<Hole, 'port' | 'portMapping'>): Promise<void> {
  void portMapping?.release()
  await port.close()
}

/** A hole that was proven under keys of this one session, and what the sides share about it. */
export interface Passage extends Hole {
  /** `ping`: the way is tried and nothing is started on it. Without it, for the command. */
  readonly purpose?: Purpose
  readonly keys: SessionKeys
}
