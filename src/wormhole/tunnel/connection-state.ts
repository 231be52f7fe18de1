import type { Allowance, Due, Endpoint } from '../../net/index.js'
import type { Acquaintance } from './acquaintance.js'
import type { Opener } from './cipher.js'
import type { Closing } from './closing.js'
import type { FlowEvent } from './flows.js'
import type { Handshake } from './handshake.js'
import type { Outbound, OutboundWhy } from './outbound.js'
import type { ProofEvent } from './proofs.js'
import type { StreamEvent } from './streams.js'
import type { TunnelMemory } from './tunnel-memory.js'
import type { Upkeep, UpkeepOptions, UpkeepWhy } from './upkeep.js'

/** Why it is over. */
export type Ending =
  | { readonly name: 'closed' }
  | { readonly name: 'peer-closed'; readonly sentence: string }
  | { readonly name: 'silent' }
  | { readonly name: 'dead' }
  | { readonly name: 'failed'; readonly sentence: string }

export type ConnectionState =
  | { readonly name: 'handshake'; readonly handshake: Handshake; readonly since: number }
  | {
      readonly name: 'open'
      readonly opener: Opener
      readonly outbound: Outbound
      readonly acquaintance: Acquaintance
      readonly upkeep: Upkeep
    }
  | {
      readonly name: 'closing'
      readonly opener: Opener
      readonly outbound: Outbound
      readonly upkeep: Upkeep
      readonly closing: Closing
    }
  | { readonly name: 'over'; readonly ending: Ending }

/** What a tunnel waits to do. */
export type ConnectionDue = Due<
  | Handshake['due']['why']
  | OutboundWhy
  | UpkeepWhy
  | 'confirm'
  | 'keep alive'
  | 'close'
  | 'give up'
  | 'end what was never begun'
>

export type ConnectionEvent =
  | StreamEvent
  | FlowEvent
  | ProofEvent
  | { readonly name: 'ready' }
  /** Both sides use new keys: `epoch` counts how often. */
  | { readonly name: 'renewed'; readonly epoch: number }
  | { readonly name: 'moved'; readonly from: Endpoint; readonly to: Endpoint }
  | { readonly name: 'over'; readonly ending: Ending }

export interface ConnectionOptions extends UpkeepOptions {
  /** 32 bytes that both sides know, and nobody else. They may have served before. */
  readonly key: Uint8Array
  /** Where the peer is at first. */
  readonly remote: Endpoint
  /** What may be sent to addresses that have not answered, over all tunnels. */
  readonly allowance?: Allowance
  /** What the peer may hold of the memory of the process, over all tunnels; without it there is enough. */
  readonly memory?: TunnelMemory
  /** The time at the start, in ms since 1970-01-01 UTC; without it greetings have no time. */
  readonly date?: number
  /** What this side's greetings say that this side knows: an older one stands in for an older peer. */
  readonly revision?: number
  /** Whether this side can prove its identity when it is asked to, and the peer's is to be proven. */
  readonly proves?: boolean
}
