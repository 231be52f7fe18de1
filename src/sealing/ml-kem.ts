import { PlexusError } from '../errors/index.js'

/** An encapsulation key of ML-KEM-768, a ciphertext, and the secret that comes of them, in bytes (FIPS 203, table 3). */
export const KEM_KEY = 1184
export const KEM_CIPHERTEXT = 1088

/** The key pair of one session: its private half serves once, and is wiped. */
export interface KemPair {
  /** KEM_KEY bytes. */
  readonly publicKey: Buffer
  /**
   * The secret that a ciphertext holds, 32 bytes: for one that was made for another key, or altered, a secret that nobody else has
   * (FIPS 203, algorithm 18).
   * @throws PlexusError MALFORMED for a ciphertext of another length
   */
  decapsulate(ciphertext: Uint8Array): Buffer
  /** Forgets the private half. */
  wipe(): void
}

/** A secret, and what the owner of the encapsulation key learns it by. */
export interface Encapsulated {
  /** KEM_CIPHERTEXT bytes. */
  readonly ciphertext: Buffer
  /** 32 bytes. */
  readonly secret: Buffer
}

/** A key encapsulation mechanism beside X25519. */
export interface Kem {
  /** Loads what it is made of, some milliseconds of work, so that the first session finds it there. */
  load(): Promise<void>
  /** @param seed d ‖ z of FIPS 203, 64 bytes, for known answers only: without it they are random */
  pair(seed?: Uint8Array): Promise<KemPair>
  /**
   * @param message m of FIPS 203, 32 bytes, for known answers only: without it they are random
   * @throws PlexusError MALFORMED for a key that FIPS 203, section 7.2 refuses: of another length, or with a number that is not
   *   below the modulus
   */
  encapsulate(key: Uint8Array, message?: Uint8Array): Promise<Encapsulated>
}

/** Not at the top: start-up would pay for it, and `plexus nat` never needs it. */
const library = async () => (await import('@noble/post-quantum/ml-kem.js')).ml_kem768

/** ML-KEM-768 (FIPS 203). Node 20 has none of its own. */
export const mlKem768: Kem = {
  async load() {
    await library()
  },
  async pair(seed) {
    const kem = await library()
    const { publicKey, secretKey } = kem.keygen(seed)
    return {
      publicKey: Buffer.from(publicKey),
      decapsulate(ciphertext) {
        if (ciphertext.length !== KEM_CIPHERTEXT) throw refused('ciphertext')
        return Buffer.from(kem.decapsulate(ciphertext, secretKey))
      },
      wipe: () => void secretKey.fill(0),
    }
  },
  async encapsulate(key, message) {
    const kem = await library()
    if (key.length !== KEM_KEY) throw refused('key')
    try {
      const { cipherText, sharedSecret } = kem.encapsulate(key, message)
      return { ciphertext: Buffer.from(cipherText), secret: Buffer.from(sharedSecret) }
    } catch {
      throw refused('key')
    }
  },
}

function refused(what: 'key' | 'ciphertext'): PlexusError {
  return new PlexusError(
    'MALFORMED',
    `The post-quantum ${what} of the peer is not a valid one of ML-KEM-768.`,
  )
}
