import { asPlexusError, PlexusError } from '../../errors/index.js'
import { type Endpoint, type Logger, parseEndpoint, UdpPort } from '../../net/index.js'
import { systemBudget } from '../../system/index.js'
import {
  always,
  type CarryEnd,
  Forwarding,
  openTunnel,
  parseService,
  type Service,
  type Tunnel,
  through,
} from '../../wormhole/index.js'
import { systemClock, systemRandom } from '../clock.js'
import { LONGEST_WAIT } from '../flags/forwarding.js'
import { logOf } from '../flags/log.js'
import { tunnelKey } from '../flags/tunnel-key.js'
import { present, type Values } from '../flags/values.js'
import { reportOn } from '../output/reporting.js'
import { onEndingSignal } from '../process/signals.js'
import { standardStreams } from '../process/stdio.js'

const PURPOSES = ['export', 'import'] as const

/** At a tunnel between two commands nobody has a name: they are the only ones. */
const NOBODY = ''

/** What the flags, and the environment of a command of plexus, say of one side of a tunnel. */
interface Side {
  readonly purpose: (typeof PURPOSES)[number]
  /** `-`: standard input and output. */
  readonly service: Service | '-'
  readonly gateway: Endpoint
  readonly faraway: Endpoint
  readonly key: Buffer
  readonly initiator: boolean
  /** ms */
  readonly wait: number
  /** Whether it ends with its tunnel. */
  readonly once: boolean
}

/** `plexus wormhole`: a service through a hole that is there already. */
export async function wormholeCommand(values: Values): Promise<number> {
  const side = sideOf(values)
  const log = logOf(values, side.service === '-' ? 'warning' : 'info')
  if (values.label('obscure') !== undefined) {
    log.warn({}, 'ignoring --obscure: everything in this tunnel is encrypted')
  }
  const ending = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    ending.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  try {
    const { service } = side
    if (service === '-') return await carryStandardStreams(side, log, ending.signal)
    return await carryService({ ...side, service }, log, ending.signal)
  } finally {
    stopListening()
  }
}

/** @throws PlexusError BAD_FLAG, TUNNEL_KEY */
function sideOf(values: Values): Side {
  const environment = process.env
  const purpose = values.choice('purpose', PURPOSES, undefined)
  if (purpose === undefined) throw new PlexusError('BAD_FLAG', '--purpose is missing: export or import.')
  const text = values.required('service')
  if (text === '-' && purpose === 'export') {
    throw values.wrong('service', 'a service to export; standard input and output can only be imported')
  }
  const role = environment.PLEXUS_ROLE
  const started = role === 'inviter' || role === 'accepter'
  return {
    purpose,
    service:
      text === '-'
        ? text
        : values.parsed('service', '[host:]port, udp:[host:]port, unix:/path or -', parseService),
    gateway: endpointOf(values, 'gateway', environment.PLEXUS_INNER),
    faraway: endpointOf(values, 'faraway', environment.PLEXUS_ALIEN),
    key: tunnelKey(values, environment),
    // by hand both sides know who imports, and nothing else of each other
    initiator: started ? role === 'inviter' : purpose === 'import',
    wait: values.whole('wait', 0, LONGEST_WAIT, 30) * 1000,
    once: started || text === '-' || values.switch('once'),
  }
}

function endpointOf(values: Values, name: string, told: string | undefined): Endpoint {
  const given = values.endpoint(name)
  if (given !== undefined || told === undefined) return present(name, given)
  return parseEndpoint(told)
}

/** @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE */
function tunnelOf(
  { gateway, faraway, key, initiator, purpose }: Side,
  log: Logger,
  signal: AbortSignal,
): Tunnel {
  const surroundings = { clock: systemClock, random: systemRandom, log, signal }
  return openTunnel({
    ...surroundings,
    port: UdpPort.open(gateway),
    role: purpose,
    initiator,
    remote: faraway,
    key,
    share: systemBudget.share(NOBODY),
  })
}

/** Goes on with the next tunnel when one is over, unless it is to end with the first. */
async function carryService(
  side: Side & { service: Service },
  log: Logger,
  signal: AbortSignal,
): Promise<number> {
  const { purpose, service, wait, once } = side
  const plan =
    purpose === 'export'
      ? { exports: always(service), imports: [], wait }
      : { exports: [], imports: [{ name: 'service', service, peer: NOBODY }], wait }
  const forwarding = await Forwarding.open(plan, { clock: systemClock, log, budget: systemBudget })
  const stopReporting = reportOn(forwarding, log)
  try {
    for (;;) {
      const end = await forwarding.carry(NOBODY, tunnelOf(side, log, signal))
      if (signal.aborted) return 0
      if (once) return exitOf(end)
    }
  } finally {
    await forwarding.close()
    stopReporting()
  }
}

/** @throws PlexusError why there is no tunnel any more, unless a side closed it */
function exitOf(end: CarryEnd): number {
  if (end.kind === 'closed' || end.kind === 'peer-closed') return 0
  throw end.error ?? new PlexusError('TUNNEL_LOST', 'The tunnel was lost.')
}

async function carryStandardStreams(side: Side, log: Logger, signal: AbortSignal): Promise<number> {
  const tunnel = tunnelOf(side, log, signal)
  try {
    await tunnel.ready
    await through(tunnel, NOBODY, standardStreams())
    return 0
  } catch (thrown) {
    if (signal.aborted) return 0
    throw asPlexusError(thrown)
  } finally {
    await tunnel.close()
  }
}
