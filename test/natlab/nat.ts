/**
 * The kinds of NAT, as data and as rules for the kernel (RFC 4787 for the words).
 *
 * The kernel's own port-preserving source NAT maps independently of the endpoint only while nothing conflicts, and
 * each packet that comes unasked leaves a conntrack entry that conflicts. Here a mapping is computed instead, the
 * outside port being the inside port with some bits turned over: one to one, the same for every destination, never in
 * conflict, and visibly another port. What comes in is judged by a set of what went out before conntrack sees it, so
 * a refused packet leaves no trace, and only outbound traffic prolongs a mapping (RFC 4787 REQ-6).
 */

/** How the NAT chooses the outside port of an inside endpoint. */
export type Mapping =
  /** Endpoint-independent: computed from the inside port. */
  | 'computed'
  /** Address-dependent: a random port for each destination address. */
  | 'per-address'
  /** Address-and-port-dependent: a random port for each destination endpoint. */
  | 'random'
  /** Address-and-port-dependent: the next port for each destination endpoint, `step` further than the last. */
  | 'sequential'
  /** The inside port, unless that conflicts with a conntrack entry: what a plain Linux router does. */
  | 'preserved'
  /** No translation. */
  | 'none'

/** Whom the NAT lets in through a mapping. */
export type Filtering =
  | 'endpoint-independent'
  | 'address-dependent'
  | 'address-and-port-dependent'
  /** Whom conntrack knows; anybody else reaches the router itself, which keeps an entry for that. */
  | 'open-input'
  /** Nobody: no UDP passes in either direction. */
  | 'nobody'

export interface NatBehaviour {
  readonly mapping: Mapping
  readonly filtering: Filtering
  /** A peer whose packet comes unasked is cut off, in and out. */
  readonly bans: boolean
}

export const NATS = {
  'full-cone': { mapping: 'computed', filtering: 'endpoint-independent', bans: false },
  'address-restricted': { mapping: 'computed', filtering: 'address-dependent', bans: false },
  'port-restricted': { mapping: 'computed', filtering: 'address-and-port-dependent', bans: false },
  'address-dependent-mapping': {
    mapping: 'per-address',
    filtering: 'address-and-port-dependent',
    bans: false,
  },
  symmetric: { mapping: 'random', filtering: 'address-and-port-dependent', bans: false },
  'symmetric-sequential': { mapping: 'sequential', filtering: 'address-and-port-dependent', bans: false },
  'open-router': { mapping: 'preserved', filtering: 'open-input', bans: false },
  blacklisting: { mapping: 'computed', filtering: 'address-and-port-dependent', bans: true },
  firewall: { mapping: 'none', filtering: 'address-and-port-dependent', bans: false },
  'udp-blocked': { mapping: 'preserved', filtering: 'nobody', bans: false },
} as const satisfies Record<string, NatBehaviour>

export type NatType = keyof typeof NATS

/** One NAT in its place. */
export interface NatSettings {
  /**
   * One address, or several: then each mapping gets any of them ("arbitrary" pooling, RFC 4787 section 4.1), chosen
   * by the inside endpoint where the mapping is computed, in turn where it is random.
   */
  readonly publicAddresses: readonly string[]
  /** The bits of a port that a computed mapping turns over, 1 to 1023. */
  readonly turned: number
  /** How long a mapping lives without outbound traffic, in seconds. */
  readonly mappingTimeout: number
  /** How long a peer stays banned, in seconds. */
  readonly banTime: number
  /** Prefixes that are never banned. */
  readonly spared: readonly string[]
  /** How far a sequential mapping is from the one before; negative when it counts down. */
  readonly step: number
  /** Whether a port mapper adds rules of its own: the chains that it fills are looked at first. */
  readonly portMapper: boolean
}

/** The table that holds all rules of a NAT, and its sets that fill up with use. */
const TABLE = 'ip nat'

/** Keys of what went out, and the same keys as they look when the answer comes in. */
const KEYS = {
  'endpoint-independent': { type: 'inet_service', out: 'udp sport', in: 'udp dport' },
  'address-dependent': {
    type: 'ipv4_addr . inet_service',
    out: 'ip daddr . udp sport',
    in: 'ip saddr . udp dport',
  },
  'address-and-port-dependent': {
    type: 'ipv4_addr . inet_service . inet_service',
    out: 'ip daddr . udp dport . udp sport',
    in: 'ip saddr . udp sport . udp dport',
  },
} as const

/** As many mappings at once as there are ports; a search with thousands of probes must not fill it. */
const SET_SIZE = 65_536

/** The mark of a packet that nobody asked for, where a port mapper may still want it. */
const UNASKED = 1

/** The ruleset of a NAT whose interfaces are called `wan` and `lan`. */
export function natRules(type: NatType, settings: NatSettings): string {
  const { mapping, filtering, bans }: NatBehaviour = NATS[type]
  const { mappingTimeout, banTime, spared, portMapper } = settings
  const flags = `size ${SET_SIZE}; flags dynamic,timeout; timeout ${mappingTimeout}s;`
  const raw: string[] = []
  const record: string[] = []
  const sets: string[] = []

  if (bans) {
    sets.push(`set banned { type ipv4_addr; size ${SET_SIZE}; flags dynamic,timeout; timeout ${banTime}s; }`)
    raw.push('iifname "wan" ip saddr @banned drop', 'iifname "lan" ip daddr @banned drop')
  }
  if (filtering in KEYS) {
    const key = KEYS[filtering as keyof typeof KEYS]
    sets.push(`set permitted { type ${key.type}; ${flags} }`)
    const unasked = `iifname "wan" meta l4proto udp ${key.in} != @permitted`
    const unlessSpared = spared.length > 0 ? `ip saddr != { ${spared.join(', ')} } ` : ''
    if (bans) raw.push(`${unasked} ${unlessSpared}update @banned { ip saddr }`)
    raw.push(portMapper ? `${unasked} meta mark set ${UNASKED}` : `${unasked} drop`)
    // behind the source NAT, so that the outside port is the key
    record.push(`oifname "wan" meta l4proto udp update @permitted { ${key.out} }`)
  }

  const inbound: string[] = []
  if (mapping === 'computed') {
    sets.push(`map inside { type ipv4_addr . inet_service : ipv4_addr; ${flags} }`)
    record.push(
      'oifname "wan" meta l4proto udp update @inside { ip saddr . udp sport : ct original ip saddr }',
    )
    inbound.push(
      `iifname "wan" meta mark 0 meta l4proto udp dnat to ip daddr . udp dport map @inside : udp dport ^ ${settings.turned}`,
    )
  }
  if (mapping === 'per-address') {
    sets.push(`map assigned { type ipv4_addr . ipv4_addr . inet_service : inet_service; ${flags} }`)
    const key = 'ct original ip saddr . ip daddr . ct original proto-src'
    record.push(`oifname "wan" meta l4proto udp update @assigned { ${key} : udp sport }`)
  }
  const blocked =
    filtering === 'nobody'
      ? ['iifname "wan" meta l4proto udp drop', 'oifname "wan" meta l4proto udp drop']
      : []
  const closed = 'iifname "wan" ct state new drop'
  const chains = [
    chain('unasked', 'filter hook prerouting priority raw', raw),
    chain('inbound', 'nat hook prerouting priority dstnat', inbound),
    // a port mapper has been asked by now whether it knows the port
    chain(
      'unmapped',
      'filter hook prerouting priority dstnat + 5',
      portMapper ? [`meta mark ${UNASKED} ct status & dnat == 0 drop`] : [],
    ),
    chain('outbound', 'nat hook postrouting priority srcnat', outboundRules(mapping, settings)),
    chain('record', 'filter hook postrouting priority srcnat + 10', record),
    chain('own', 'filter hook input priority filter', filtering === 'open-input' ? [] : [closed]),
    chain('through', 'filter hook forward priority filter', [...blocked, `meta l4proto != udp ${closed}`]),
  ]
  return `table ${TABLE} {\n${sets.join('\n')}\n${chains.join('\n')}\n}\n`
}

/** How the source of outbound packets is translated. */
function outboundRules(mapping: Mapping, settings: NatSettings): string[] {
  const { publicAddresses, turned, step } = settings
  const several = publicAddresses.length > 1
  if (several && mapping !== 'computed' && mapping !== 'random')
    throw new Error(`a ${mapping} mapping of the laboratory has one public address`)
  const pool = `mod ${publicAddresses.length} map { ${publicAddresses.map((address, i) => `${i} : ${address}`).join(', ')} }`
  const to = (choice: string) =>
    `oifname "wan" meta l4proto udp snat to ${several ? `${choice} ${pool}` : publicAddresses[0]}`
  switch (mapping) {
    case 'computed':
      return [`${to('jhash ip saddr . udp sport')} : udp sport ^ ${turned}`, MASQUERADE]
    case 'sequential':
      return [`${to('')} : ${nextPort(step)}`, MASQUERADE]
    case 'per-address':
      // the first one towards an address gets a random port, and `record` remembers it
      return [`${to('')} : ip saddr . ip daddr . udp sport map @assigned`, RANDOM]
    case 'random':
      return [several ? `${to('numgen inc')} fully-random` : RANDOM, MASQUERADE]
    case 'preserved':
      return [MASQUERADE]
    case 'none':
      return []
  }
}

/** The ports of a sequential mapping: more than a search uses in its lifetime, few enough to list. */
const SEQUENCE = { first: 30_000, last: 60_000, count: 4096 } as const

/** The next port, by a table, as the counter by itself is in the byte order of the machine and not of the network. */
function nextPort(step: number): string {
  if (!Number.isInteger(step) || step === 0) throw new Error(`a sequence cannot have a step of ${step}`)
  const { first, last } = SEQUENCE
  const count = Math.min(SEQUENCE.count, Math.floor((last - first) / Math.abs(step)))
  const start = step > 0 ? first : last
  const ports = Array.from({ length: count }, (_, i) => `${i} : ${start + i * step}`)
  return `numgen inc mod ${count} map { ${ports.join(', ')} }`
}

const MASQUERADE = 'oifname "wan" masquerade'
const RANDOM = `${MASQUERADE} random,fully-random`

/** Rules that forget every mapping and every ban. */
export function flushRules(type: NatType): string {
  const { mapping, filtering, bans }: NatBehaviour = NATS[type]
  return [
    ...(filtering in KEYS ? [`flush set ${TABLE} permitted`] : []),
    ...(mapping === 'computed' ? [`flush map ${TABLE} inside`] : []),
    ...(mapping === 'per-address' ? [`flush map ${TABLE} assigned`] : []),
    ...(bans ? [`flush set ${TABLE} banned`] : []),
    '',
  ].join('\n')
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return `chain ${name} {\ntype ${hook}\n${rules.join('\n')}\n}`
}
