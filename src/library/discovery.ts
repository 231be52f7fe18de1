import type { UdpPort } from '../net/index.js'
import { discover as ask, type DiscoverOptions, type Reflexive } from '../stun/index.js'
import { systemClock, systemRandom } from '../system/index.js'
import { loggerOf } from './log.js'
import { spoken } from './option-words.js'
import type { Surroundings } from './options.js'

/**
 * Learns under which endpoints the outside sees a port, by asking STUN servers on that very port (RFC 8489). Other
 * datagrams are left to whoever else listens on it.
 * @param servers `host`, `host:port`, `[v6]:port`, names or addresses
 * @param options `timeout` in ms, 5000
 * @returns the first good answer of each address family, at least one
 * @throws PlexusError STUN_UNREACHABLE, which says what became of each server; BAD_ENDPOINT; the signal's reason
 */
export function discover(
  port: UdpPort,
  servers: readonly string[],
  options: Partial<Omit<DiscoverOptions, 'log'>> & Pick<Surroundings, 'log'> = {},
): Promise<Reflexive[]> {
  const { signal = new AbortController().signal } = options
  const rest = { ...options, signal, log: loggerOf(options.log) }
  return spoken(() => ask(port, servers, { clock: systemClock, random: systemRandom, ...rest }))
}
