/**
 * Who has which address. The public ones are from blocks with a special purpose that nobody routes, but not from the
 * documentation blocks: software that drops "bogons" (HyperDHT does) would behave otherwise there than on the internet.
 */

/** The servers, one address each for STUN, mail and the nodes of a DHT (block: RFC 7450). */
export const SERVER_ADDRESSES: readonly string[] = Array.from(
  { length: 12 },
  (_, i) => `192.52.193.${10 + i}`,
)
export const SERVER_ADDRESSES_6: readonly string[] = Array.from(
  { length: 12 },
  (_, i) => `2001:2:0:ffff::${10 + i}`,
)
export const SERVER_PREFIX = '192.52.193.0/24'
export const SERVER_GATEWAY = '192.52.193.1'
export const SERVER_PREFIX_6 = '2001:2:0:ffff::/64'
export const SERVER_GATEWAY_6 = '2001:2:0:ffff::1'

/** As many sides as there are blocks of eight addresses in 192.88.99.0/24. */
export const MAX_SIDES = 32

/** A cable between two routers: the end that is nearer to the core, and the other. */
export interface Cable {
  readonly upper: string
  readonly lower: string
  readonly length: number
  /** The block that both are in, as a route needs it. */
  readonly prefix: string
}

function cable(block: string, first: number, length: number): Cable {
  return {
    upper: `${block}.${first}`,
    lower: `${block}.${first + 1}`,
    length,
    prefix: `${block}.${first}/${length}`,
  }
}

function cable6(subnet: number): Cable {
  const prefix = `2001:2:0:${subnet.toString(16)}::`
  return { upper: `${prefix}1`, lower: `${prefix}2`, length: 64, prefix: `${prefix}/64` }
}

/** The addresses of side number `side`, from 0. */
export const addresses = {
  /** Between the core and the side's routers, `step` 0 next to the core (block: RFC 2544). */
  core: (side: number, step: number): Cable => cable(`198.18.${side}`, 2 * step, 31),
  core6: (side: number, step: number): Cable => cable6(0x1000 + side * 16 + step),
  /** The side's public addresses (block: RFC 7526): the provider's is `.1` of eight, the customer's the next. */
  access: (side: number): Cable => {
    const { prefix, ...ends } = cable('192.88.99', 8 * side + 1, 29)
    return { ...ends, prefix: prefix.replace(/\d+\/29$/, `${8 * side}/29`) }
  },
  /**
   * The same for a side whose router runs a port mapper, which refuses to work on addresses with a special purpose
   * (block: assigned, and not announced by anybody).
   */
  mappableAccess: (side: number): Cable => {
    const { prefix, ...ends } = cable('30.0.99', 8 * side + 1, 29)
    return { ...ends, prefix: prefix.replace(/\d+\/29$/, `${8 * side}/29`) }
  },
  access6: (side: number): Cable => cable6(0x100 + side),
  /** Between a carrier's NAT and the customer's (RFC 6598). */
  carrier: (side: number, customer = 0): Cable => ({
    ...cable(`100.64.${side}`, 1, 24),
    lower: `100.64.${side}.${2 + customer}`,
    prefix: `100.64.${side}.0/24`,
  }),
  carrier6: (side: number): Cable => cable6(0x200 + side),
  /** The inside of the innermost NAT; `host` counts from 0. */
  lan: (side: number) => ({
    gateway: `192.168.${side}.1`,
    length: 24,
    host: (n: number) => `192.168.${side}.${2 + n}`,
  }),
  /** The inside of a firewall that does not translate (block: RFC 7534). */
  dmz: (side: number) => ({
    gateway: `192.31.196.${8 * side + 1}`,
    length: 29,
    prefix: `192.31.196.${8 * side}/29`,
    host: (n: number) => `192.31.196.${8 * side + 2 + n}`,
  }),
  lan6: (side: number) => ({
    gateway: `2001:2:0:${(0x400 + side).toString(16)}::1`,
    length: 64,
    prefix: `2001:2:0:${(0x400 + side).toString(16)}::/64`,
    host: (n: number) => `2001:2:0:${(0x400 + side).toString(16)}::${2 + n}`,
  }),
} as const
