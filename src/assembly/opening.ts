import type { Depth, NatMemory, NatReport } from '../nat/index.js'
import type { Outside } from './outside.js'
import type { Ping } from './ping.js'
import type { Program, ProgramHooks } from './program.js'
import type { Named, NetworkSettings, PairingSettings, ProgramSettings } from './settings.js'

/** As `Program.open`. What runs commands and daemons is loaded when it is wanted: a library never does. */
export async function openProgram(
  settings: ProgramSettings,
  outside: Outside,
  hooks: ProgramHooks,
): Promise<Program> {
  const { Program } = await import('./program.js')
  return await Program.open(settings, outside, hooks)
}

/** As `Ping.open`. */
export async function openPing(settings: PairingSettings, peer: Named, outside: Outside): Promise<Ping> {
  const { Ping } = await import('./ping.js')
  return await Ping.open(settings, peer, outside)
}

/** Measures the NAT that the settings lead through. */
export async function measureNetwork(
  network: NetworkSettings,
  outside: Outside,
  options: { readonly signal: AbortSignal; readonly depth: Depth },
): Promise<NatReport> {
  const { measureNetwork } = await import('./nat-watch.js')
  return await measureNetwork(network, outside, options)
}

/** What is remembered of the NAT. @param state the state directory */
export async function openNatMemory(state: string, outside: Outside): Promise<NatMemory> {
  const { openNatMemory } = await import('./nat-watch.js')
  return await openNatMemory(state, outside)
}
