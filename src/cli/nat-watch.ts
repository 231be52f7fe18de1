import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { type Depth, measureNat, NatMemory, type NatReport } from '../nat/index.js'
import type { Logger, NatBehaviour } from '../net/index.js'
import { defaultGateway } from '../portmap/index.js'
import { DEFAULT_STUN_SERVERS } from '../stun/index.js'
import { systemClock, systemRandom } from './clock.js'
import { meetingOf } from './flags/meeting.js'
import type { Values } from './flags/values.js'
import { probePortMapping } from './nat-probe.js'
import { stateDirectory } from './place/state-directory.js'

/** Measures what the flags describe. Who pairs asks for its port mappings itself. */
export async function measured(
  values: Values,
  log: Logger,
  signal: AbortSignal,
  depth: Depth,
): Promise<NatReport> {
  const { stun, bind, kinds } = meetingOf(values)
  const { address } = bind
  return await measureNat({
    servers: stun.length > 0 ? stun : DEFAULT_STUN_SERVERS,
    clock: systemClock,
    random: systemRandom,
    log,
    signal,
    depth,
    ...(address === undefined ? {} : { address }),
    ...(kinds.has('mapped') && depth === 'whole'
      ? { probePortMapping: (until) => probePortMapping(address, log, until) }
      : {}),
  })
}

/** What is remembered of the NAT, for all identities of this state directory; without one for this process. Never rejects. */
export async function natMemory(values: Values, log: Logger): Promise<NatMemory> {
  const gateway = async () => (await defaultGateway())?.address
  const options = { clock: systemClock, log, gateway }
  const directory = await stateDirectory(values, 'nat').catch(() => undefined)
  return await NatMemory.open(
    directory === undefined ? options : { ...options, file: join(directory, 'behaviour') },
  )
}

/**
 * What pairings are told of the NAT: an accepter finds it out beside its work, as soon as it begins and whenever the
 * network is another one; an inviter knows what was found out before, else it looks at mapping and filtering beside its
 * pairing. Nothing waits for it.
 */
export async function natWatch(
  values: Values,
  log: Logger,
  { accept }: { accept: boolean },
): Promise<{ readonly current: () => NatBehaviour | undefined; readonly close: () => Promise<void> }> {
  const memory = await natMemory(values, log)
  const controller = new AbortController()
  const measure = (signal: AbortSignal) => measured(values, log, signal, accept ? 'accepter' : 'inviter')
  const current = memory.watch(measure, controller.signal, { brief: !accept })
  const close = async () => {
    controller.abort(new PlexusError('CANCELLED', 'Nobody asks for the NAT any more.'))
    await memory.settled()
  }
  return { current, close }
}
