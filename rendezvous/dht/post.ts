import HyperDHT from 'hyperdht'
import { isAbort, PlexusError } from '../../src/errors/index.js'
import { sleep } from '../../src/net/index.js'
import type { RendezvousContext } from '../interface.js'
import { scope } from '../scope.js'
import { split } from './chunks.js'
import type { DhtNetwork } from './network.js'
import type { IdentityMailbox } from './place.js'
import { Ringing } from './ring.js'
import { Search } from './search.js'

/** How long a network that says nothing is waited for, in ms, before a post fails with why. */
export const CONNECT_PATIENCE = 15_000
/** How long the accepter is rung again after the first ring, in ms, unless the signal says earlier that it is enough. */
const RING_ON = 45_000

/**
 * Leaves a message for an accepter: stores it under a fresh key, searches for who announces itself, and rings.
 * Resolves once it is stored and somebody was rung. Goes on searching and ringing in the background until the signal
 * aborts, as nobody says that a ring was heard: its answer does.
 * @throws PlexusError RENDEZVOUS_FOREIGN; RENDEZVOUS_UNREACHABLE; PEER_SILENT if nobody had announced itself when
 *   the signal aborted with a timeout; the signal's reason when it was cancelled
 */
export async function postToAccepter(
  network: DhtNetwork,
  context: RendezvousContext,
  mailbox: IdentityMailbox,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  await network.connected(signal, CONNECT_PATIENCE).catch((reason) => {
    throw network.explain(reason)
  })
  const { clock, log } = context
  const life = scope(signal, network.signal)
  const keyPair = HyperDHT.keyPair(context.random(32))
  const { head, chunks } = split(message, HyperDHT.hash)
  const progress = { announcers: 0, stored: false }
  try {
    await new Promise<void>((resolve, reject) => {
      const onabort = () => reject(life.signal.reason)
      if (life.signal.aborted) return onabort()
      life.signal.addEventListener('abort', onabort, { once: true })
      const rung = new Promise<void>((ring) => {
        const ringing = new Ringing(network, clock, keyPair, life.signal, ring)
        const search = new Search(network, clock, mailbox, life.signal, (announcer) => {
          progress.announcers++
          log.debug(
            { announcer: announcer.key.toString('hex', 0, 4), standing: announcer.standing },
            'found an announcer in the DHT',
          )
          ringing.add(announcer)
        })
        search.run().catch(reject)
      })
      const stored = Promise.all([
        network.persist(() => network.put(keyPair, head, 0, life.signal), life.signal),
        ...chunks.map((chunk) =>
          network.persist(() => network.putImmutable(chunk, life.signal), life.signal),
        ),
      ]).then(() => {
        progress.stored = true
      })
      Promise.all([stored, rung]).then(() => resolve(), reject)
    })
  } catch (reason) {
    life.close(reason)
    if (isAbort(reason) || network.signal.aborted) throw reason
    const explained = network.explain(reason)
    if (explained !== reason) throw explained
    if (progress.announcers > 0 && progress.stored) throw reason
    throw new PlexusError(
      progress.stored ? 'PEER_SILENT' : 'RENDEZVOUS_UNREACHABLE',
      progress.stored
        ? `Nobody has announced itself in the DHT as ${mailbox.identity} for the application ${mailbox.app}.`
        : 'The DHT did not store the message.',
      { cause: reason },
    )
  }
  sleep(clock, RING_ON, life.signal).then(
    () => life.close(),
    () => {},
  )
}
