import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { type Depth, measureNat, NatMemory, type NatReport } from '../nat/index.js'
import type { NatBehaviour } from '../net/index.js'
import { openStateFolder } from '../place/index.js'
import { defaultGateway } from '../portmap/index.js'
import { probePortMapping } from './nat-probe.js'
import type { Outside } from './outside.js'
import type { NetworkSettings } from './settings.js'

/** Measures the NAT that the settings lead through. Who pairs asks for its port mappings itself. */
export async function measureNetwork(
  { stunServers, bind, kinds }: NetworkSettings,
  outside: Outside,
  { signal, depth }: { readonly signal: AbortSignal; readonly depth: Depth },
): Promise<NatReport> {
  const { clock, random, log } = outside
  const { address } = bind
  return await measureNat({
    servers: stunServers,
    clock,
    random,
    log,
    signal,
    depth,
    ...(address === undefined ? {} : { address }),
    ...(kinds.includes('mapped') && depth === 'whole'
      ? { probePortMapping: (until) => probePortMapping(address, outside, until) }
      : {}),
  })
}

/**
 * What is remembered of the NAT, for all identities of a state directory; where that cannot be used, for this process.
 * Never rejects.
 */
export async function openNatMemory(state: string, { clock, log }: Outside): Promise<NatMemory> {
  const gateway = async () => (await defaultGateway())?.address
  const options = { clock, log, gateway }
  const directory = await openStateFolder(state, 'nat').catch(() => undefined)
  return await NatMemory.open(
    directory === undefined ? options : { ...options, file: join(directory, 'behaviour') },
  )
}

/** What pairings are told of the NAT. */
export interface NatWatch {
  readonly current: () => NatBehaviour | undefined
  readonly close: () => Promise<void>
}

/**
 * Looks at the NAT beside the pairings: for an accepter as soon as it begins and whenever the network is another one; an
 * inviter knows what was found out before, else it looks at mapping and filtering beside its pairing. Nothing waits for it.
 * @param state the state directory
 */
export async function watchNat(
  network: NetworkSettings,
  state: string,
  outside: Outside,
  depth: 'accepter' | 'inviter',
): Promise<NatWatch> {
  const memory = await openNatMemory(state, outside)
  const controller = new AbortController()
  const measure = (signal: AbortSignal) => measureNetwork(network, outside, { signal, depth })
  const current = memory.watch(measure, controller.signal, { brief: depth === 'inviter' })
  const close = async () => {
    controller.abort(new PlexusError('CANCELLED', 'The NAT is no longer needed.'))
    await memory.settled()
  }
  return { current, close }
}
