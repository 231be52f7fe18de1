import { type Clock, sleep } from '../../src/net/index.js'
import { type Head, join, parseHead } from './chunks.js'
import type { DhtNetwork } from './network.js'

/** Pauses between two looks for a record that was announced, in ms: it is being stored at the same time. */
const PAUSES = [20, 40, 80, 150, 300, 500] as const

/**
 * Fetches the chunks of a message and puts it together. Tries again what is missing until the signal aborts.
 * @returns undefined if the signal aborted before, or if the chunks do not make a message
 */
export async function fetchChunks(
  network: DhtNetwork,
  clock: Clock,
  head: Head,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const chunks = await Promise.all(
    head.hashes.map((hash) => untilFound(clock, signal, () => network.getImmutable(hash, signal))),
  )
  const found = chunks.filter((chunk) => chunk !== undefined)
  return found.length === chunks.length ? join(head, found) : undefined
}

/** Fetches the message whose head lies under a key, as soon as it lies there; undefined if the signal aborts before. */
export async function fetchMessage(
  network: DhtNetwork,
  clock: Clock,
  publicKey: Uint8Array,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const value = await untilFound(clock, signal, async () => (await network.get(publicKey, signal)).value)
  const head = value && parseHead(value)
  return head && fetchChunks(network, clock, head, signal)
}

async function untilFound(
  clock: Clock,
  signal: AbortSignal,
  look: () => Promise<Buffer | undefined>,
): Promise<Buffer | undefined> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    const found = await look()
    if (found) return found
    await sleep(clock, PAUSES[Math.min(attempt, PAUSES.length - 1)] ?? 0, signal).catch(() => {})
  }
  return undefined
}
