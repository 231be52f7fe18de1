import { type Endpoint, formatEndpoint } from '../net/index.js'

/** An identity, as a command hears of it. */
export interface Identity {
  readonly owner: string
  readonly pin: string
}

/** Which side of the pairing the command runs on. */
export type Role = 'inviter' | 'accepter'

/** What a proven hole has to tell the command that will use it. */
export interface Wildcards {
  /** The concrete local endpoint of the chosen path, which the command binds. */
  readonly inner: Endpoint
  /** This side's public endpoint, as the NAT shows it. */
  readonly outer: Endpoint
  /** Where the peer is reached. */
  readonly peer: Endpoint
  readonly host: Identity
  readonly peerId: Identity
  /** 64 bits that both sides share, for hooks of the plexus 3 generation. */
  readonly secret: bigint
  /**
   * 32 bytes that both sides share. They reach the command in the environment and in a file, never in an argument.
   * With a plexus 3.x peer there are none, and neither is there any trace of them.
   */
  readonly key: Buffer | undefined
  /** Paths into the application repository. */
  readonly paths: {
    readonly hostCertificate: string
    readonly hostKey: string
    readonly peerCertificate: string
  }
  readonly role: Role
  /** The application id. */
  readonly app: string
  /** The session id, as text. */
  readonly session: string
}

/**
 * - `address`: a bare IP address, bracketed before a port; `port`: its port; `text`: anything that may be seen by all
 * - `secret`: allowed in arguments for the sake of old hooks, with a warning: every user of a machine sees them
 * - `key`: never in an argument or a path; `keyfile`: the path of a file that holds it, never part of another path
 */
export type WildcardKind = 'address' | 'port' | 'text' | 'secret' | 'key' | 'keyfile'

interface Wildcard {
  readonly kind: WildcardKind
  /** The name of the same value in the environment of the command. */
  readonly variable: string
  readonly value: (values: Wildcards, keyFile: string) => string
}

const wildcard = (kind: WildcardKind, variable: string, value: Wildcard['value']): Wildcard => ({
  kind,
  variable: `PLEXUS_${variable}`,
  value,
})

const formatIdentity = ({ owner, pin }: Identity) => `${owner}/${pin}`

/** The wildcards of plexus 3.0 to 3.2, those of 3.3 and 3.4, and the two that carry the whole key. */
export const WILDCARDS = {
  innerip: wildcard('address', 'INNER_IP', ({ inner }) => inner.address),
  innerport: wildcard('port', 'INNER_PORT', ({ inner }) => String(inner.port)),
  outerip: wildcard('address', 'OUTER_IP', ({ outer }) => outer.address),
  outerport: wildcard('port', 'OUTER_PORT', ({ outer }) => String(outer.port)),
  peerip: wildcard('address', 'PEER_IP', ({ peer }) => peer.address),
  peerport: wildcard('port', 'PEER_PORT', ({ peer }) => String(peer.port)),
  secret: wildcard('secret', 'SECRET', ({ secret }) => BigInt.asUintN(64, secret).toString()),
  hostpin: wildcard('text', 'HOST_PIN', ({ host }) => host.pin),
  peerpin: wildcard('text', 'PEER_PIN', ({ peerId }) => peerId.pin),
  hostmail: wildcard('text', 'HOST_MAIL', ({ host }) => host.owner),
  peermail: wildcard('text', 'PEER_MAIL', ({ peerId }) => peerId.owner),
  // the manual of plexus 3 has hostmail and peermail, its code these
  hostemail: wildcard('text', 'HOST_EMAIL', ({ host }) => host.owner),
  peeremail: wildcard('text', 'PEER_EMAIL', ({ peerId }) => peerId.owner),

  inner: wildcard('text', 'INNER', ({ inner }) => formatEndpoint(inner)),
  outer: wildcard('text', 'OUTER', ({ outer }) => formatEndpoint(outer)),
  alien: wildcard('text', 'ALIEN', ({ peer }) => formatEndpoint(peer)),
  hostid: wildcard('text', 'HOST_ID', ({ host }) => formatIdentity(host)),
  peerid: wildcard('text', 'PEER_ID', ({ peerId }) => formatIdentity(peerId)),
  // protocol and role, as plexus 3.3 writes them: what is punched here is always UDP, and the accepter is the server
  qos: wildcard('text', 'QOS', ({ role }) => (role === 'accepter' ? 'udp:server' : 'udp:client')),
  hostcert: wildcard('text', 'HOST_CERT', ({ paths }) => paths.hostCertificate),
  hostkey: wildcard('text', 'HOST_KEY', ({ paths }) => paths.hostKey),
  peercert: wildcard('text', 'PEER_CERT', ({ paths }) => paths.peerCertificate),

  key: wildcard('key', 'KEY', ({ key }) => key?.toString('base64') ?? ''),
  keyfile: wildcard('keyfile', 'KEY_FILE', (_values, keyFile) => keyFile),
} as const satisfies Record<string, Wildcard>

export type WildcardName = keyof typeof WILDCARDS

export function isWildcardName(name: string): name is WildcardName {
  return Object.hasOwn(WILDCARDS, name)
}
