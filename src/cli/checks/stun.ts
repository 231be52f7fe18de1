import { bindOf, type NetworkSettings, type Outside, openPort } from '../../assembly/index.js'
import { asPlexusError } from '../../errors/index.js'
import {
  type Family,
  formatEndpoint,
  interfacesRefused,
  ownAddresses,
  type UdpPort,
} from '../../net/index.js'
import { compareMappings, discover, type Reflexive } from '../../stun/index.js'
import { type Finding, found, ok, warn } from './finding.js'

/** How long a STUN server may take, in ms: four transmissions of RFC 8489's schedule. */
const PATIENCE = 4000

type Outcome =
  | { readonly server: string; readonly answers: readonly Reflexive[] }
  | { readonly server: string; readonly failure: unknown }

/** Every STUN server, asked from one port, and what their answers together say of the NAT. */
export async function checkStun(
  { stunServers, bind }: NetworkSettings,
  outside: Outside,
  signal: AbortSignal,
): Promise<Finding[]> {
  let port: UdpPort
  try {
    port = openPort(bindOf(bind))
  } catch (thrown) {
    return [found('port', thrown)]
  }
  try {
    const outcomes = await Promise.all(stunServers.map((server) => ask(port, server, outside, signal)))
    const answers = outcomes.flatMap((outcome) => ('answers' in outcome ? outcome.answers : []))
    // one that answers is enough for pairing
    const severity = answers.length > 0 ? 'warn' : 'FAIL'
    const findings = outcomes.flatMap((outcome) =>
      'failure' in outcome
        ? [found('STUN', outcome.failure, severity)]
        : outcome.answers.map(({ serverName, endpoint, rtt }) =>
            ok('STUN', `${serverName} sees ${formatEndpoint(endpoint)} after ${Math.round(rtt)} ms.`),
          ),
    )
    return [...interfaces(), ...findings, ...nat(answers)]
  } finally {
    await port.close()
  }
}

async function ask(
  port: UdpPort,
  server: string,
  { clock, random, log }: Outside,
  signal: AbortSignal,
): Promise<Outcome> {
  const options = { clock, random, log, signal, timeout: PATIENCE }
  try {
    return { server, answers: await discover(port, [server], options) }
  } catch (failure) {
    return { server, failure: asPlexusError(failure) }
  }
}

/** Whether this machine lists its interfaces. */
function interfaces(): Finding[] {
  const refused = interfacesRefused()
  if (refused === undefined) return []
  const sentence = `This system does not list its network interfaces (${refused}): local addresses may be missing.`
  return [warn('interfaces', sentence, 'Let plexus open netlink sockets, if its sandbox can be changed.')]
}

function nat(answers: readonly Reflexive[]): Finding[] {
  return ([4, 6] as const).flatMap((family) => {
    const ofFamily = answers.filter(({ base }) => base === family)
    const [first] = ofFamily
    return first ? [natOf(first, ofFamily, family)] : []
  })
}

function natOf(first: Reflexive, answers: readonly Reflexive[], family: Family): Finding {
  const what = `NAT (IPv${family})`
  const { address } = first.endpoint
  if (ownAddresses({ loopback: true }).some((own) => own.address === address)) {
    return ok(what, `None: ${address} is an address of this machine.`)
  }
  switch (compareMappings(answers, family)) {
    case 'endpoint-independent':
      return ok(what, 'endpoint-independent: one public port for every destination.')
    case 'symmetric':
      return warn(
        what,
        'symmetric: a different public port for each destination.',
        'A peer behind the same kind of NAT cannot be reached without a port mapping on either side.',
      )
    case 'unknown':
      return ok(what, 'its kind is unknown: add a second STUN server at another address.')
  }
}
