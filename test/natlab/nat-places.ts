import type { NatReport } from '../../src/nat/index.js'
import type { Lab, Side, SideOptions, SideType } from './index.js'
import { Process } from './pairing-rig.js'

/** What `plexus nat --json` prints. */
export type PrintedReport = NatReport & { readonly kind: string; readonly ok: boolean }

/** A place in the laboratory, and what has to be said of it. */
export interface NatPlace {
  readonly name: string
  readonly type: SideType
  readonly options?: SideOptions
  /** Whether it needs a port mapper. */
  readonly mapper?: true
  readonly expected: Readonly<Record<string, unknown>>
}

/** Of a report, what the laboratory knows the truth of. */
export function summary(report: PrintedReport): Record<string, unknown> {
  const { kind, udp, ipv4, ipv6, carrier, portMapping } = report
  return {
    kind,
    udp,
    mapping: ipv4?.mapping,
    filtering: ipv4?.filtering,
    allocation: ipv4?.allocation.kind === 'sequential' ? ipv4.allocation.step : ipv4?.allocation.kind,
    pooling: ipv4?.pooling,
    hairpin: ipv4?.translated ? ipv4.hairpin : undefined,
    unasked: ipv4?.unasked,
    hops: ipv4?.hops,
    translated: ipv4?.translated,
    carrier: carrier.verdict,
    portMapping: portMapping.is,
    ipv6: ipv6 && (ipv6.translated ? 'translated' : ipv6.filtering),
  }
}

const ANY = 'endpoint-independent'
const ADDRESS = 'address-dependent'
const PORT = 'address-and-port-dependent'

const CONE = {
  kind: 'port-restricted',
  mapping: ANY,
  filtering: PORT,
  allocation: 'random',
  pooling: 'paired',
}

/** Every kind of NAT of the laboratory. */
export const NAT_PLACES: readonly NatPlace[] = [
  {
    name: 'public',
    type: 'public',
    expected: { kind: 'open', translated: false, filtering: ANY, unasked: 'let in', carrier: 'no' },
  },
  {
    name: 'firewall',
    type: 'firewall',
    expected: { kind: 'firewall', translated: false, filtering: PORT, carrier: 'no' },
  },
  {
    name: 'full cone',
    type: 'full-cone',
    expected: { kind: 'full-cone', mapping: ANY, filtering: ANY, unasked: 'let in', hairpin: 'no' },
  },
  {
    name: 'address-restricted',
    type: 'address-restricted',
    expected: { kind: 'address-restricted', mapping: ANY, filtering: ADDRESS, unasked: 'dropped' },
  },
  {
    name: 'port-restricted',
    type: 'port-restricted',
    expected: { ...CONE, unasked: 'dropped', hairpin: 'no', ipv6: undefined, hops: 1, carrier: 'no' },
  },
  {
    name: 'port-restricted with hairpinning',
    type: 'port-restricted',
    options: { hairpin: true },
    expected: { ...CONE, hairpin: 'yes' },
  },
  {
    name: 'several public addresses',
    type: 'port-restricted',
    options: { publicAddresses: 4 },
    expected: { ...CONE, pooling: 'arbitrary' },
  },
  {
    name: 'plain Linux router',
    type: 'open-router',
    expected: { ...CONE, allocation: 'preserved', unasked: 'moves the mapping' },
  },
  { name: 'blacklisting', type: 'blacklisting', expected: { ...CONE, unasked: 'cuts off the sender' } },
  { name: 'double', type: 'double', expected: { ...CONE, unasked: 'dropped', hops: 2, carrier: 'yes' } },
  {
    name: 'address-dependent mapping',
    type: 'address-dependent-mapping',
    expected: { kind: 'address-dependent', mapping: ADDRESS, filtering: PORT },
  },
  {
    name: 'symmetric random',
    type: 'symmetric',
    expected: { kind: 'symmetric-random', mapping: PORT, filtering: PORT, allocation: 'random' },
  },
  {
    name: 'symmetric random, several public addresses',
    type: 'symmetric',
    options: { publicAddresses: 3 },
    expected: { kind: 'symmetric-random', pooling: 'arbitrary' },
  },
  {
    name: 'symmetric sequential',
    type: 'symmetric-sequential',
    expected: { kind: 'symmetric-sequential', mapping: PORT, filtering: PORT, allocation: 1 },
  },
  {
    name: 'symmetric sequential, step 4',
    type: 'symmetric-sequential',
    options: { step: 4 },
    expected: { kind: 'symmetric-sequential', allocation: 4 },
  },
  {
    name: 'symmetric sequential, downwards',
    type: 'symmetric-sequential',
    options: { step: -2 },
    expected: { kind: 'symmetric-sequential', allocation: -2 },
  },
  { name: 'UDP blocked', type: 'udp-blocked', expected: { kind: 'udp-blocked', udp: 'blocked' } },
  {
    name: 'IPv6 without a filter beside a NAT',
    type: 'port-restricted',
    options: { ipv6: true },
    expected: { ...CONE, ipv6: ANY },
  },
  {
    name: 'IPv6 behind a firewall beside a NAT',
    type: 'symmetric',
    options: { ipv6: 'firewall' },
    expected: { kind: 'symmetric-random', ipv6: PORT },
  },
  {
    name: 'IPv6 alone, behind a firewall',
    type: 'port-restricted',
    options: { ipv6: 'only-firewall' },
    expected: { kind: 'firewall', mapping: undefined, ipv6: PORT },
  },
  {
    name: 'symmetric random with a port mapper',
    type: 'symmetric',
    options: { portMapper: 'both' },
    mapper: true,
    expected: { kind: 'symmetric-random', portMapping: 'available', carrier: 'no' },
  },
]

/** STUN servers in a laboratory: one of each family with all of RFC 5780, and two that answer plain requests alone. */
export class NatServers {
  readonly #processes: Process[]
  /** With a second address and port. */
  readonly full: readonly string[]
  /** On two addresses, without. */
  readonly plain: readonly string[]

  private constructor(processes: Process[], full: readonly string[], plain: readonly string[]) {
    this.#processes = processes
    this.full = full
    this.plain = plain
  }

  static async start(lab: Lab): Promise<NatServers> {
    const [one, two, three, four] = lab.servers.addresses
    const [six, seven] = lab.servers.addresses6
    const run = (listen: string, alternate?: string) =>
      new Process(lab.servers, [
        'stun-server',
        `--listen=${listen}`,
        ...(alternate === undefined ? [] : [`--alternate=${alternate}`]),
      ])
    const processes = [
      run(`${one}:3478`, `${two}:3479`),
      run(`[${six}]:3478`, `[${seven}]:3479`),
      run(`${three}:3478`),
      run(`${four}:3478`),
    ]
    await Promise.all(processes.map((process) => process.said(/^STUN server on/)))
    return new NatServers(processes, [`${one}:3478`, `[${six}]:3478`], [`${three}:3478`, `${four}:3478`])
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop('SIGKILL')))
  }
}

/** Runs `plexus nat --json` on a side. @param more flags */
export async function reportOf(
  side: Side,
  servers: readonly string[],
  stateDirectory: string,
  more: readonly string[] = [],
): Promise<{ readonly report: PrintedReport; readonly code: number }> {
  const process = new Process(side, [
    'nat',
    '--json',
    `--state-dir=${stateDirectory}`,
    ...servers.map((server) => `--stun-server=${server}`),
    ...more,
  ])
  const code = await process.ended
  return { report: JSON.parse(process.lines.join('\n')) as PrintedReport, code }
}

/** What is not as it has to be, a line each; none when all is. */
export function differences(report: PrintedReport, expected: NatPlace['expected']): string[] {
  const seen = summary(report)
  return Object.entries(expected).flatMap(([name, value]) =>
    seen[name] === value ? [] : [`${name} is ${seen[name]}, and should be ${value}`],
  )
}
