import type { DialectChoice, NativePeers } from '../dialect/index.js'
import type { Command, Environment, RepeatPolicy } from '../exec/index.js'
import type { IdentityName } from '../identity/index.js'
import type { Logger } from '../net/index.js'
import type { PairingContext } from '../pairing/index.js'
import type { CarryEnd, Tunnel } from '../wormhole/index.js'

/** What goes through a tunnel on the passage itself, in place of a command. */
export interface Carrier {
  /** Uses a tunnel that was just opened, until it is over. Never rejects. @param peer `owner/pin` */
  carry(peer: string, tunnel: Tunnel, log: Logger): Promise<CarryEnd>
  /** Whether somebody waits for a tunnel. */
  readonly wanted: boolean
  /** Calls back when somebody begins to. */
  ondemand: () => void
}

/** How peers are spoken with that know an older language. */
export interface DialectSettings {
  readonly choice: DialectChoice
  readonly natives: NativePeers
  /** Whether mail that nobody has signed is taken. */
  readonly allowPlain: boolean
  /** Where what peers have said is remembered: a directory of this identity and application, 0700. */
  readonly directory: string
}

/** What a daemon needs beyond what one pairing does. */
export interface DaemonSettings {
  readonly context: PairingContext
  /** Started on every passage; without it `print` is given the passage. */
  readonly command: Command | undefined
  /** Has every passage instead of a command: the port stays open, with a tunnel on it. */
  readonly carrier?: Carrier
  /** The environment that a command inherits. */
  readonly environment: Environment
  /** Without it the native language alone is spoken. */
  readonly dialect?: DialectSettings
  /** Takes the passage as `KEY=value` lines when there is no command. */
  readonly print: (lines: string) => void
}

export interface AccepterSettings extends DaemonSettings {
  /** Only these peers; without it everyone in the repository. */
  readonly peers: readonly IdentityName[] | undefined
  /** What happens when a peer pairs again while its command runs. */
  readonly onRepeat: RepeatPolicy
  /** A file of this accepter's own, in a directory that is 0700. */
  readonly seenFile: string
  /** Whether to end after one pairing, when its command has ended. */
  readonly once?: boolean
}
