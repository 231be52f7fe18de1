import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { Random } from '../net/index.js'
import { PROBE_LENGTH } from './probe.js'

/** AES-256-GCM: 9 µs to seal and open a probe, half of what ChaCha20-Poly1305 takes through the same interface. */
const ALGORITHM = 'aes-256-gcm'
const NONCE_LENGTH = 12
const TAG_LENGTH = 16
const KEY_LENGTH = 32

/** Bytes of every datagram of the punch: nonce, sealed probe, tag. */
export const DATAGRAM_LENGTH = NONCE_LENGTH + PROBE_LENGTH + TAG_LENGTH

/** The magic cookie of RFC 8489 section 5, at byte 4. */
const STUN_COOKIE = 0x2112a442

/** True for what another listener of the port would take for STUN (RFC 8489 section 6.3): never one of ours. */
export function looksLikeStun(data: Uint8Array): boolean {
  if (data.length < 20 || ((data[0] ?? 0) & 0xc0) !== 0) return false
  return new DataView(data.buffer, data.byteOffset).getUint32(4) === STUN_COOKIE
}

/**
 * Seals and opens the probes of one punch. Each direction has its own key, so that a datagram that is thrown back at
 * its sender opens no more than noise does. The nonce is 96 random bits: keys live for one punch of some thousand
 * datagrams, so that none repeats (RFC 5116 section 3.2 asks for uniqueness; the chance of a collision after 10,000
 * is 2^-70). Nothing in a sealed probe is constant, and the counter is inside.
 */
export class ProbeCipher {
  readonly #own: Buffer
  readonly #peer: Buffer
  readonly #random: Random

  /**
   * @param own 32 bytes, the key for what this side sends
   * @param peer 32 bytes, the key for what the peer sends
   * @throws RangeError if a key has another length, or both are the same
   */
  constructor(own: Buffer, peer: Buffer, random: Random) {
    if (own.length !== KEY_LENGTH || peer.length !== KEY_LENGTH || own.equals(peer)) {
      throw new RangeError('A punch needs a key of 32 bytes for each direction.')
    }
    this.#own = own
    this.#peer = peer
    this.#random = random
  }

  seal(probe: Buffer): Buffer {
    const datagram = Buffer.allocUnsafe(DATAGRAM_LENGTH)
    do datagram.set(this.#random(NONCE_LENGTH))
    while (looksLikeStun(datagram))
    const nonce = datagram.subarray(0, NONCE_LENGTH)
    const cipher = createCipheriv(ALGORITHM, this.#own, nonce, { authTagLength: TAG_LENGTH })
    datagram.set(cipher.update(probe), NONCE_LENGTH)
    cipher.final()
    datagram.set(cipher.getAuthTag(), NONCE_LENGTH + PROBE_LENGTH)
    return datagram
  }

  /** The probe in a datagram of the peer; undefined for anything else, after at most one attempt to open it. */
  open(datagram: Uint8Array): Buffer | undefined {
    if (datagram.length !== DATAGRAM_LENGTH || looksLikeStun(datagram)) return undefined
    const nonce = datagram.subarray(0, NONCE_LENGTH)
    const decipher = createDecipheriv(ALGORITHM, this.#peer, nonce, { authTagLength: TAG_LENGTH })
    decipher.setAuthTag(datagram.subarray(NONCE_LENGTH + PROBE_LENGTH))
    const probe = decipher.update(datagram.subarray(NONCE_LENGTH, NONCE_LENGTH + PROBE_LENGTH))
    try {
      decipher.final()
      return probe
    } catch {
      return undefined
    }
  }
}
