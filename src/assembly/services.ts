import { asPlexusError, type PlexusError } from '../errors/index.js'
import type { IdentityName, Repository } from '../identity/index.js'
import { type Clock, silent } from '../net/index.js'
import { dial, Forwarding, type Import, type Share } from '../wormhole/index.js'
import { ServiceKeeper } from './service-keeper.js'
import type { ForwardingSettings } from './settings.js'

/** How long a service may take to answer, in ms. */
const PATIENCE = 3000

/** What a look at services found. */
export interface ServicesSeen {
  /** What a start would refuse. */
  readonly refused: readonly PlexusError[]
  /** What a start goes on without, by what is off. */
  readonly absent: ReadonlyMap<string, PlexusError>
  /** Exports at which nothing answers just now. */
  readonly silent: readonly { readonly share: Share; readonly error: PlexusError }[]
  readonly exports: readonly Share[]
  readonly imports: readonly Import[]
}

/** Looks at services by what a start does with them: resolves the peers, listens for the imports, dials the exports. */
export async function lookAtServices(
  settings: ForwardingSettings,
  around: {
    readonly repository: Repository
    readonly host: IdentityName
    readonly peer: IdentityName | undefined
    readonly clock: Clock
  },
): Promise<ServicesSeen> {
  const refused: PlexusError[] = []
  const nothing = { exports: [], imports: [], wait: 0, absent: new Map<string, PlexusError>() }
  const plan = await new ServiceKeeper(settings, { ...around, log: silent })
    .plan()
    .catch((thrown: unknown) => {
      refused.push(asPlexusError(thrown))
      return nothing
    })
  const { exports, imports, absent } = plan
  for (const one of imports) {
    await Forwarding.open(
      { ...plan, exports: [], imports: [one] },
      { clock: around.clock, log: silent },
    ).then(
      (forwarding) => forwarding.close(),
      (thrown: unknown) => refused.push(asPlexusError(thrown)),
    )
  }
  const silentOnes: { share: Share; error: PlexusError }[] = []
  await Promise.all(
    exports.map(async (share) => {
      const { service } = share
      if (service.kind === 'udp') return // there is no telling
      const signal = AbortSignal.timeout(PATIENCE)
      await dial(service, { clock: around.clock, signal }).then(
        (socket) => void socket.destroy(),
        (thrown: unknown) => silentOnes.push({ share, error: asPlexusError(thrown, 'SERVICE_UNREACHABLE') }),
      )
    }),
  )
  return { refused, absent, silent: silentOnes, exports, imports }
}
