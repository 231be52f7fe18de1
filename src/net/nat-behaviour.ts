/** How a NAT gives out external endpoints (RFC 4787 section 4.1). `unknown` until two answers could be compared. */
export type Mapping = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent' | 'unknown'

/** Whose packets a NAT or firewall lets in to a mapping (RFC 4787 section 5). */
export type Filtering = Mapping

/** Which external port a new mapping gets (RFC 4787 section 4.2). */
export type PortAllocation =
  | { readonly kind: 'unknown' }
  /** The internal one, while it is free. */
  | { readonly kind: 'preserved' }
  /** One after the other. `step`: the usual distance between two mappings in a row, not 0; negative when it counts down. */
  | { readonly kind: 'sequential'; readonly step: number }
  | { readonly kind: 'random' }

/** What is known of the NAT before a socket: a hint for the strategy and for the reason of a failure, never a gate. */
export interface NatBehaviour {
  readonly mapping: Mapping
  readonly filtering: Filtering
  readonly allocation: PortAllocation
  /** Whether different mappings were seen at different public addresses (RFC 4787 section 4.1, "arbitrary" pooling). */
  readonly pooling: 'paired' | 'arbitrary' | 'unknown'
}

export const UNKNOWN_NAT: NatBehaviour = {
  mapping: 'unknown',
  filtering: 'unknown',
  allocation: { kind: 'unknown' },
  pooling: 'unknown',
}
