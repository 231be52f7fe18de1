import type { Rendezvous } from '../../rendezvous/index.js'
import { openMeeting } from '../assembly/index.js'
import { systemClock, systemRandom } from '../system/index.js'
import { loggerOf } from './log.js'
import { spoken } from './option-words.js'
import { badOption, type Surroundings } from './options.js'

export interface RendezvousOptions extends Surroundings {
  /** An existing directory (0700) for persistent state, such as a DHT key pair. */
  readonly stateDirectory: string
  /** Options by name, as in `{ 'dht-bootstrap': ['192.0.2.1:49737'] }`. */
  readonly options?: Readonly<Record<string, string | readonly string[] | undefined>>
  /** What a relative module is relative to. The working directory of the process. */
  readonly cwd?: string
}

/**
 * Opens what URLs name, as `--rendezvous` takes them: `dht:`, `dht:host:port`, `dir:/path`, `./module.js`, the name of
 * a package. Several run side by side as one. The caller closes it.
 * @throws PlexusError BAD_RENDEZVOUS, BAD_OPTION, and what the rendezvous itself throws
 */
export async function openRendezvous(
  urls: string | readonly string[],
  options: RendezvousOptions,
): Promise<Rendezvous> {
  const outside = {
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    log: loggerOf(options.log),
  }
  const meeting = { urls: urlsOf(urls), options: options.options ?? {} }
  const more = options.cwd === undefined ? {} : { cwd: options.cwd }
  return spoken(() => openMeeting(meeting, options.stateDirectory, outside, more))
}

/** The URLs that a program gave. @throws PlexusError BAD_OPTION for anything else */
export function urlsOf(urls: unknown): string[] {
  const list: readonly unknown[] = Array.isArray(urls) ? urls : [urls]
  const texts = list.filter((url) => typeof url === 'string')
  if (texts.length !== list.length) throw badOption('rendezvous', urls, 'URLs, or an open rendezvous')
  return texts
}

/** What has the two ways of a rendezvous is taken for one. */
export function isRendezvous(value: unknown): value is Rendezvous {
  const { post, receive } = (value ?? {}) as Partial<Rendezvous>
  return typeof post === 'function' && typeof receive === 'function'
}
