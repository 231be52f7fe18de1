import type { Rendezvous } from '../../../rendezvous/interface.js'
import { type IdentityName, parseIdentity, Repository } from '../../../src/identity/index.js'
import { silent, sleep } from '../../../src/net/index.js'
import { invite, type PairingContext, type Passage } from '../../../src/pairing/index.js'
import { type Candidate, NO_HINT } from '../../../src/punch/index.js'
import { systemClock, systemRandom } from '../../../src/system/index.js'
import { encodeHeader } from '../../../src/wormhole/header.js'
import { openTunnel, type Tunnel, type TunnelStream } from '../../../src/wormhole/index.js'
import { HostilePeer, several } from '../hostile-peer.js'

/** What an attack has to work with: an identity that the accepter knows, and all that anybody has. */
export interface Means {
  readonly me: HostilePeer
  /** Somebody whom the accepter does not know, with its certificate. */
  readonly stranger: HostilePeer
  readonly context: PairingContext
  readonly peer: IdentityName
  /** The name of a service of the accepter that echoes. */
  readonly service: string
  readonly rendezvous: Rendezvous
  readonly signal: AbortSignal
}

/** Something that a peer can do to the others. */
export interface Attack {
  readonly name: string
  /** Goes on until the signal aborts. Its failures are its own. */
  run(means: Means): Promise<void>
}

/** Somewhere that nobody answers. */
const NOWHERE: Candidate = { kind: 'host', endpoint: { address: '127.0.0.1', port: 9 } }
const OFFER = () => ({ key: systemRandom(32), candidates: [NOWHERE], nat: NO_HINT, can: [] })

/** How many messages an attack leaves at once, and how long it then waits, in ms. */
const BATCH = 25
const PAUSE = 100

/** Leaves messages for as long as it may. */
async function flood(
  { me, rendezvous, signal }: Means,
  make: (index: number) => Promise<Buffer>,
): Promise<void> {
  while (!signal.aborted) {
    await me.leave(rendezvous, await several(BATCH, make), signal).catch(() => {})
    await pause(signal)
  }
}

const pause = (signal: AbortSignal, ms = PAUSE) => sleep(systemClock, ms, signal).catch(() => {})

/** Pairs as anybody may, and gives the tunnel, as often as it is let. */
async function tunnels(
  means: Means,
  use: (tunnel: Tunnel, passage: Passage) => Promise<void>,
): Promise<void> {
  const { context, peer, signal } = means
  while (!signal.aborted) {
    try {
      const passage = await invite(context, peer, { signal })
      const tunnel = openTunnel({
        port: passage.port,
        initiator: true,
        remote: passage.faraway,
        key: passage.keys.key,
        clock: systemClock,
        random: systemRandom,
        log: silent,
        signal,
      })
      await tunnel.ready
      await use(tunnel, passage).catch(() => {})
      await tunnel.close()
    } catch {
      await pause(signal)
    }
  }
}

const header = (name: string) => encodeHeader({ carries: 'stream', name })

function quiet(stream: TunnelStream): TunnelStream {
  stream.on('error', () => {})
  stream.resume()
  return stream
}

/** How many tunnels an attack has side by side that takes what all of them may have together. */
const BESIDE = 7

/** Attacks on what the system has few of: by themselves, where it has few. */
export const SCARCITY: readonly Attack[] = [
  {
    name: 'every port',
    run: async (means) => {
      const taking = Array.from({ length: BESIDE }, () =>
        tunnels(means, async (tunnel) => {
          while (!means.signal.aborted) {
            let refused = false
            for (let count = 0; count < 20; count++) {
              const stream = quiet(tunnel.open(header(means.service)))
              stream.once('error', () => {
                refused = true
              })
              stream.write('x')
            }
            await pause(means.signal)
            if (refused) await pause(means.signal, 1000)
          }
        }),
      )
      await Promise.all(taking)
    },
  },
]

/** Every attack there is: each is written once, and stands in the table and in the test. */
export const ATTACKS: readonly Attack[] = [
  { name: 'silent invites', run: (means) => flood(means, () => means.me.invite({ offer: OFFER() })) },
  {
    name: 'silent pings',
    run: (means) => flood(means, () => means.me.invite({ purpose: 'ping', offer: OFFER() })),
  },
  { name: 'aborts', run: (means) => flood(means, () => means.me.abort()) },
  {
    name: 'clock errors and refusals',
    run: (means) =>
      flood(means, (index) =>
        index % 2 === 0
          ? means.me.invite({ time: 1, expires: 2 })
          : means.me.say({ kind: 'refusal', code: 'BUSY', sentence: 'No.' }),
      ),
  },
  {
    name: 'messages of a stranger',
    run: (means) => flood(means, () => means.stranger.invite({ offer: OFFER() })),
  },
  {
    name: 'tunnels without end',
    run: async (means) => {
      const open: Promise<void>[] = []
      for (let beside = 0; beside < 4; beside++) {
        open.push(tunnels(means, () => pause(means.signal, 50)))
      }
      await Promise.all(open)
    },
  },
  {
    name: 'streams opened and ended',
    run: (means) =>
      tunnels(means, async (tunnel) => {
        while (!means.signal.aborted) {
          for (let count = 0; count < 200; count++) quiet(tunnel.open(header(means.service))).end()
          await pause(means.signal, 5)
        }
      }),
  },
  {
    name: 'connections held',
    run: (means) =>
      tunnels(means, async (tunnel) => {
        for (;;) {
          try {
            for (let count = 0; count < 50; count++) quiet(tunnel.open(header(means.service))).write('x')
          } catch {
            await pause(means.signal, 1000)
          }
          await pause(means.signal, 20)
          means.signal.throwIfAborted()
        }
      }),
  },
  {
    name: 'bytes that nobody reads',
    run: (means) =>
      tunnels(means, async (tunnel) => {
        const kilobytes = Buffer.alloc(32 * 1024, 7)
        for (;;) {
          try {
            for (let count = 0; count < 8; count++) {
              const stream = tunnel.open(header(means.service))
              stream.on('error', () => {})
              stream.pause()
              stream.write(kilobytes)
            }
          } catch {
            await pause(means.signal, 1000)
          }
          await pause(means.signal, 50)
          means.signal.throwIfAborted()
        }
      }),
  },
]

/** How the process that attacks is told what to do. */
export interface Task {
  readonly repository: string
  readonly elsewhere: string
  readonly me: string
  readonly stranger: string
  readonly peer: string
  readonly app: string
  readonly stun: string
  readonly service: string
}

/** @param rendezvous where the accepter can be met */
export async function means(task: Task, rendezvous: Rendezvous, signal: AbortSignal): Promise<Means> {
  const peer = parseIdentity(task.peer)
  const name = parseIdentity(task.me)
  const repository = await Repository.open(task.repository)
  const context: PairingContext = {
    clock: systemClock,
    random: systemRandom,
    log: silent,
    repository,
    host: await repository.host(name),
    app: task.app,
    rendezvous,
    stunServers: [task.stun],
    bind: {},
    hops: 7,
    timeout: 10_000,
  }
  return {
    me: await HostilePeer.of(task.repository, name, peer, task.app),
    stranger: await HostilePeer.of(
      task.repository,
      parseIdentity(task.stranger),
      peer,
      task.app,
      task.elsewhere,
    ),
    context,
    peer,
    service: task.service,
    rendezvous,
    signal,
  }
}
