import type { Command, RepeatPolicy } from '../exec/index.js'
import type { Dialect } from '../identity/index.js'
import type { OfferKind } from '../pairing/index.js'
import type { Share } from '../wormhole/index.js'

/**
 * What a program is put together from: immutable plain data, checked by whoever made it of flags, of a file or of a
 * program's options. Two of them can be compared, and nothing in them is open.
 */

/** Whom somebody has named, in full or in short, and where: a refusal says so. */
export interface Named {
  readonly text: string
  /** As in `--peer-info`; without it the refusal is that of the repository. */
  readonly from?: string
}

/** Where the two sides meet. */
export interface MeetingSettings {
  /** As `--rendezvous` takes them; they run side by side. */
  readonly urls: readonly string[]
  /** What the rendezvous that come along are told, by the names of the flags. */
  readonly options: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** From where to punch; the system chooses what is left out. Either a port or a range of them. */
export interface BindSettings {
  readonly address?: string
  readonly port?: number
  /** Both ends among them. */
  readonly ports?: { readonly from: number; readonly to: number }
}

/** What is sent into the network, and what is told of it. */
export interface NetworkSettings {
  /** As `host[:port]`; empty for a network without any. */
  readonly stunServers: readonly string[]
  readonly bind: BindSettings
  /** The kinds of candidates to let the peer know of; `mapped` lets a router be asked for a port mapping. */
  readonly kinds: readonly OfferKind[]
  /** Whether ports may be searched for. */
  readonly search: boolean
  /** TTL of the opening packets, in hops. */
  readonly hops: number
}

/** What one session needs, whoever wants it. */
export interface SessionSettings {
  /** The application: only sides that name the same one pair. */
  readonly app: string
  readonly meeting: MeetingSettings
  readonly network: NetworkSettings
  /** How long one pairing may take, in ms, to the letter; without it a minute, and longer over a slow rendezvous. */
  readonly timeout?: number
}

/** The same with who this side is, and where it keeps its persistent state. */
export interface PairingSettings extends SessionSettings {
  /** The path of the repository. */
  readonly repository: string
  /** Your identity; without it the only one with a private key. */
  readonly host?: Named
  /** The state directory, in which each identity and application has a folder. */
  readonly state: string
  readonly dialect: DialectSettings
}

/** How peers of an older language are spoken with. */
export interface DialectSettings {
  readonly language: Dialect
  /** Where it was said; without it nobody has. */
  readonly from?: string
  /** Whether mail that nobody has signed is taken. */
  readonly allowPlain: boolean
}

/** Whom to pair with, and for how long. */
export type RoleSettings =
  | {
      readonly is: 'inviter'
      readonly peer: Named
      /** Whether to pair again when it is over, or has failed. */
      readonly again: boolean
    }
  | {
      readonly is: 'accepter'
      /** The only one to accept; without it everyone in the repository. */
      readonly peer?: Named
      /** What happens when a peer pairs again while its command or tunnel runs. */
      readonly onRepeat: RepeatPolicy
      /** Whether to end after one pairing. */
      readonly once: boolean
    }

/** Services that are forwarded; the peers of each as they were named. */
export interface ForwardingSettings {
  readonly exports: readonly Share[]
  readonly imports: readonly Share[]
  /** How long a connection waits for a tunnel, in ms. */
  readonly wait: number
}

/** What becomes of a passage. */
export type UseSettings =
  /** It is printed, and left to whoever reads that. */
  | { readonly is: 'print' }
  | { readonly is: 'command'; readonly command: Command }
  | ({ readonly is: 'services' } & ForwardingSettings)
  /** One connection to a service of the peer. */
  | { readonly is: 'connection'; readonly service: string }

/** All of a program that pairs. */
export interface ProgramSettings extends PairingSettings {
  readonly role: RoleSettings
  readonly use: UseSettings
}
