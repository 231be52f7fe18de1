import type { Rendezvous } from '../../rendezvous/index.js'
import { asPlexusError } from '../errors/index.js'
import { formatIdentity, type Host, type IdentityName, type Repository } from '../identity/index.js'
import { interfacesRefused } from '../net/index.js'
import { lastWords, type PairingContext } from '../pairing/index.js'
import { mlKem768 } from '../sealing/index.js'
import { bindOf } from './bind.js'
import { type MeetingOptions, openMeeting } from './meeting.js'
import type { NatWatch } from './nat-watch.js'
import type { Outside } from './outside.js'
import { portMapperFor } from './port-mapper.js'
import { searchingFor } from './searching.js'
import type { SessionSettings } from './settings.js'

/** Whose folder of the state directory it is. */
export function stateOwner(app: string, host: IdentityName): string {
  return `${app}\0${formatIdentity(host)}`
}

/** What is there before: who this side is, and where it keeps its persistent state. */
export interface Foundation {
  readonly repository: Repository
  readonly host: Host
  /** The folder of this identity and application, 0700. */
  readonly directory: string
}

export interface SessionOptions extends MeetingOptions {
  /** A rendezvous of somebody else's, which stays theirs to close. */
  readonly rendezvous?: Rendezvous
  /** The bind of the settings, where its ports have been given out from before. */
  readonly bind?: PairingContext['bind']
  /** What a watcher tells its own sessions by. */
  readonly scope?: object
  /** Begins to look at the NAT beside the pairings; closed with them. */
  readonly watchNat?: () => Promise<NatWatch>
  /** Whether passages go on when everything else is closed: their port mappings are held then. */
  readonly passagesOutlive?: boolean
}

/** All that sessions work with, open. */
export interface Assembled {
  readonly context: PairingContext
  /** Says what is still to be said, and lets go of what was opened here. Never rejects. */
  close(): Promise<void>
}

/** How long a pairing may take where nobody has said so, in ms, before it stretches. */
const TIMEOUT = 60_000

/**
 * Puts together what sessions work with: the one place where settings become a pairing's context. All of it is opened,
 * or nothing is left open.
 * @throws PlexusError BAD_RENDEZVOUS, and what the rendezvous itself throws
 */
export async function assemble(
  { app, meeting, network, timeout }: SessionSettings,
  { repository, host, directory }: Foundation,
  outside: Outside,
  {
    rendezvous: given,
    bind = bindOf(network.bind),
    watchNat,
    passagesOutlive,
    scope,
    ...options
  }: SessionOptions = {},
): Promise<Assembled> {
  const { clock, random, log, governor, budget } = outside
  const refused = interfacesRefused()
  if (refused !== undefined)
    log.warn(
      {},
      `this system does not list its network interfaces (${refused}): local addresses may be missing`,
    )
  const rendezvous = given ?? (await openMeeting(meeting, directory, outside, options))
  const closing = async () => {
    if (given) return
    await lastWords(rendezvous)
    await rendezvous.close().catch((thrown: unknown) => {
      const { code, message } = asPlexusError(thrown)
      log.warn({ code }, `not everything could be closed: ${message}`)
    })
  }
  try {
    const portMapper = await portMapperFor(network, outside)
    const search = await searchingFor(network, directory, outside)
    const nat = await watchNat?.()
    const context: PairingContext = {
      clock,
      random,
      log,
      ...(scope ? { scope } : {}),
      repository,
      host,
      app,
      rendezvous,
      stunServers: network.stunServers,
      bind,
      kinds: new Set(network.kinds),
      ...(portMapper ? { portMapper } : {}),
      ...(nat ? { nat: nat.current } : {}),
      ...(search ? { search } : {}),
      governor,
      budget,
      kem: mlKem768,
      hops: network.hops,
      timeout: timeout ?? TIMEOUT,
      exact: timeout !== undefined,
    }
    const close = async () => {
      const givenBack = passagesOutlive ? portMapper?.settled() : portMapper?.close()
      const forgotten = nat?.close()
      await closing()
      await givenBack
      await forgotten
      await search?.memory?.settled()
    }
    return { context, close }
  } catch (thrown) {
    await closing()
    throw thrown
  }
}
