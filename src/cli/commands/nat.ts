import { measureNetwork, openNatMemory } from '../../assembly/index.js'
import { PlexusError } from '../../errors/index.js'
import {
  type FamilyReport,
  helpOf,
  KINDS,
  kindOf,
  kindOfFamily,
  type NatReport,
  reachOf,
} from '../../nat/index.js'
import { formatEndpoint, silent } from '../../net/index.js'
import { logOf } from '../flags/log.js'
import { networkSettings, stateDirectory } from '../flags/settings.js'
import type { Values } from '../flags/values.js'
import { outsideWith } from '../process/outside.js'
import { onEndingSignal } from '../process/signals.js'

/** How the resolver of glibc is told to be quick (resolv.conf(5)): no answer in 2 s is as good as none here. */
const RESOLVER = 'timeout:1 attempts:2'

/**
 * `plexus nat`: what the network does to UDP, which peers can be reached from here and how, and what would help.
 * @returns 0, or 1 when nothing gets out
 */
export async function natCommand(values: Values): Promise<number> {
  // nobody can stop the system looking for a name, and it would keep this program for ten seconds and more
  process.env.RES_OPTIONS ??= RESOLVER
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    controller.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  const evidence = values.switch('verbose')
  // the report says it all; whoever wants to hear more asks for it
  const log = values.label('log-level') === undefined ? silent : logOf(values)
  try {
    const outside = outsideWith(log)
    const options = { signal: controller.signal, depth: 'whole' } as const
    const report = await measureNetwork(networkSettings(values), outside, options)
    await (await openNatMemory(stateDirectory(values), outside)).keep(report)
    process.stdout.write(values.switch('json') ? asJson(report) : asText(report, evidence))
    return report.udp === 'open' ? 0 : 1
  } finally {
    stopListening()
  }
}

function asJson(report: NatReport): string {
  const kind = kindOf(report)
  const { evidence, ...rest } = report
  const all = {
    ok: report.udp === 'open',
    kind,
    reach: reachOf(report),
    help: helpOf(report),
    ...rest,
    evidence,
  }
  return `${JSON.stringify(all, null, 2)}\n`
}

const UDP = {
  open: 'gets out and back',
  refused: 'unknown: the datagrams were refused (port unreachable), so no STUN server listens there',
  unanswered: 'unknown: the host refuses other UDP ports, so UDP gets there, but no STUN server answers',
  blocked: 'most likely blocked: nothing came back, though a server was reached over TCP',
  silent: 'no server answered, not even over TCP',
} as const

/** The report for a person: a field a line. */
function asText(report: NatReport, withEvidence: boolean): string {
  const { udp, ipv4, ipv6, carrier, portMapping, servers, missing, evidence } = report
  const rows: (readonly [string, string])[] = [['NAT', KINDS[kindOf(report)]]]
  if (udp !== 'open') rows.push(['UDP', UDP[udp]])
  if (ipv4) rows.push(...family(ipv4))
  if (ipv6) rows.push(...family(ipv6))
  else if (udp === 'open') rows.push(['IPv6', 'none'])
  if (udp === 'open' && ipv4?.translated) {
    rows.push(['port mapping', mappingWords(portMapping)])
    rows.push(['carrier NAT', `${carrier.verdict}: ${carrier.why}`])
  }
  const reach = reachOf(report).map(({ peer, way }) => [`  ${peer}`, way] as const)
  const parts = [columns(rows)]
  if (udp === 'open')
    parts.push(`peers that can be reached over ${ipv4 ? 'IPv4' : 'IPv6'}\n${columns(reach)}`)
  const help = helpOf(report)
  if (help.length > 0) parts.push(list('what would help', help))
  const unheard = servers.filter(({ answered }) => !answered).map(({ name, said }) => `${name}: ${said}`)
  const unknown = udp === 'open' ? missing.map(({ what, why }) => `${what}: ${why}`) : []
  if (unknown.length > 0) parts.push(list('what could not be determined', unknown))
  if (unheard.length > 0) parts.push(list('servers that did not answer', unheard))
  if (withEvidence) parts.push(list(`evidence, after ${report.took} ms`, evidence))
  // a name or a server's words cannot forge a line
  return parts
    .join('\n')
    .split('\n')
    .map((line) => `${line.replace(/\p{C}/gu, ' ')}\n`)
    .join('')
    .replace(/\n+$/, '\n')
}

function family(report: FamilyReport): (readonly [string, string])[] {
  const { own, publicAddresses, translated, allocation, pooling, hairpin, unasked, hops, rtt } = report
  const name = `IPv${report.family}`
  const nearest = `the nearest server is ${Math.round(rtt)} ms away`
  if (report.family === 6 && !translated) {
    const filter = KINDS[kindOfFamily(report)].replace(/^none(: |, but )/, '')
    return [[name, `${publicAddresses.join(', ')}: ${filter}; ${nearest}`]]
  }
  const seen = translated
    ? `${own ?? 'this machine'} is seen as ${publicAddresses.join(', ')}`
    : publicAddresses.join(', ')
  const rows: (readonly [string, string])[] = [[name, `${seen}; ${nearest}`]]
  if (!translated) return rows
  if (report.family === 6) rows.push(['IPv6 NAT', KINDS[kindOfFamily(report)]])
  else {
    rows.push(['public ports', PORTS[allocation.kind](allocation)])
    if (pooling === 'arbitrary')
      rows.push(['pooling', 'a different public address for each mapping (arbitrary)'])
    rows.push(['hairpinning', hairpin])
    rows.push(['unsolicited', UNSOLICITED[unasked]])
    if (hops !== undefined) rows.push(['distance', distance(hops)])
  }
  return rows
}

function distance(hops: number): string {
  return hops === 1 ? 'the NAT is the next router' : `the outermost NAT is ${hops} routers away`
}

const PORTS: Readonly<
  Record<FamilyReport['allocation']['kind'], (allocation: FamilyReport['allocation']) => string>
> = {
  preserved: () => 'the local ports, while they are free',
  sequential: (allocation) =>
    `in sequence, in steps of ${allocation.kind === 'sequential' ? allocation.step : 0}`,
  random: () => 'random',
  unknown: () => 'unknown',
}

const UNSOLICITED: Readonly<Record<FamilyReport['unasked'], string>> = {
  'let in': 'packets are let in',
  dropped: 'packets are dropped',
  'moves the mapping': 'a packet changes the mapping towards its sender',
  'cuts off the sender': 'the sender of a packet is blocked for a while',
  unknown: 'unknown',
}

function mappingWords(portMapping: NatReport['portMapping']): string {
  if (portMapping.is === 'available')
    return `the router maps ports for this machine, as ${formatEndpoint(portMapping.external)} just now`
  return `${portMapping.is === 'unknown' ? 'unknown' : 'none'}: ${portMapping.why}`
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const widest = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `${name.padEnd(widest)}  ${text}\n`).join('')
}

function list(title: string, items: readonly string[]): string {
  return `${title}\n${items.map((item) => `  ${item}\n`).join('')}`
}
