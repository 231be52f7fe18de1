import { asPlexusError, PlexusError } from '../errors/index.js'
import { deriveKeys, ephemeral, type KemPair, type SessionKeys } from '../sealing/index.js'
import type { PairingContext } from './context.js'
import { CAN_KEM, type Offer } from './message.js'

/** The part of an offer that keys come of: X25519, and ML-KEM-768 where this side has it. */
export type Share = Pick<Offer, 'key' | 'kem' | 'can'>

/** What an inviter offers for the keys of one session, and the private halves of it. */
export interface InviterShare {
  readonly share: Share
  /**
   * The keys of the session. The private half of ML-KEM-768 serves once.
   * @param invite the octets of the invite as they were signed
   * @param answer those of the answer
   * @throws PlexusError MALFORMED for a part of the peer's that cannot serve
   */
  keys(offer: Offer, invite: Buffer, answer: Buffer): SessionKeys
}

/** What an accepter answers an offer with. */
export interface AccepterShare {
  readonly share: Share
  /** As of an inviter. */
  keys(invite: Buffer, answer: Buffer): SessionKeys
}

/**
 * Draws the keys of an inviter. Without ML-KEM-768, or where it cannot be loaded, which a warning tells of, they are of
 * X25519 alone: that of itself keeps out everybody of today.
 */
export async function drawShare(context: PairingContext): Promise<InviterShare> {
  const own = ephemeral()
  const pair = await orNothing(context, () => context.kem?.pair())
  return {
    share: shareOf(own.publicKey, pair?.publicKey),
    keys(offer, invite, answer) {
      const encapsulated = offer.kem && decapsulated(pair, offer.kem)
      return deriveKeys(own.privateKey, offer.key, invite, answer, encapsulated)
    },
  }
}

/**
 * Draws the keys of an accepter, with an ML-KEM-768 ciphertext where both sides have it. Only for an offer whose signature was
 * verified.
 * @throws PlexusError MALFORMED for an encapsulation key that FIPS 203 refuses
 */
export async function answerShare(context: PairingContext, offer: Offer): Promise<AccepterShare> {
  const { kem } = offer
  const made = kem && (await orNothing(context, () => context.kem?.encapsulate(kem)))
  const own = ephemeral()
  return {
    share: shareOf(own.publicKey, made?.ciphertext),
    keys: (invite, answer) => deriveKeys(own.privateKey, offer.key, invite, answer, made?.secret),
  }
}

function shareOf(key: Buffer, kem: Buffer | undefined): Share {
  return kem ? { key, kem, can: [CAN_KEM] } : { key, can: [] }
}

function decapsulated(pair: KemPair | undefined, ciphertext: Buffer): Buffer {
  if (!pair) {
    throw new PlexusError('MALFORMED', 'The peer answered a post-quantum key that it was not offered.')
  }
  try {
    return pair.decapsulate(ciphertext)
  } finally {
    pair.wipe()
  }
}

/** What ML-KEM-768 gives; nothing, and a warning, where the program cannot load it. @throws PlexusError MALFORMED */
async function orNothing<T>(
  { log }: PairingContext,
  make: () => Promise<T> | undefined,
): Promise<T | undefined> {
  try {
    return await make()
  } catch (thrown) {
    const error = asPlexusError(thrown)
    if (error.code === 'MALFORMED') throw error
    log.warn({ code: error.code }, `no post-quantum key exchange: ${error.message}`)
    return undefined
  }
}
