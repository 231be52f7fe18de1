import { hkdfSync } from 'node:crypto'
import sodium from 'sodium-native'

/** Byte 0, packet number in 6 bytes. */
export const HEADER_LENGTH = 7
export const TAG_LENGTH = 16
/** What a datagram costs besides its frames. */
export const OVERHEAD = HEADER_LENGTH + TAG_LENGTH

/**
 * The first byte of a datagram with frames. With its highest bit set it is neither STUN, whose first two bits are zero
 * (RFC 8489 section 6.3), nor a handshake.
 */
export const DATA_BYTE = 0x80

/**
 * Packets to a generation of keys. The next one is derived from it and it is forgotten, so keys that are stolen later
 * open nothing older. ChaCha20-Poly1305 asks for no change before 2^62 bytes; this is some 20 to 30 GB.
 */
export const GENERATION = 2 ** 24

/** Packet numbers end here: 2^24 generations, which take 1,900 years at one an hour. */
export const LAST_PACKET = 2 ** 48 - 1

const LABEL = 'plexus 4 tunnel '

/** HKDF-Expand and Extract with SHA-256 (RFC 5869), labelled as every key of the tunnel. */
export function derive(input: Uint8Array, salt: Uint8Array, label: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', input, salt, LABEL + label, length))
}

interface Keys {
  readonly number: number
  readonly key: Buffer
  readonly iv: Buffer
  readonly next: Buffer
}

function keysOf(number: number, secret: Buffer): Keys {
  const bytes = derive(secret, Buffer.alloc(0), 'generation', 76)
  return { number, key: bytes.subarray(0, 32), iv: bytes.subarray(32, 44), next: bytes.subarray(44, 76) }
}

function wipe(keys: Keys | undefined): void {
  keys?.key.fill(0)
  keys?.next.fill(0)
}

const nonce = Buffer.alloc(12)

/** The nonce of RFC 9001 section 5.3: the packet number, over the initial value. Used at once, by one thread. */
function nonceOf(iv: Buffer, packet: number): Buffer {
  iv.copy(nonce)
  const high = Math.floor(packet / 2 ** 32)
  nonce.writeInt32BE(nonce.readInt32BE(4) ^ high, 4)
  nonce.writeInt32BE(nonce.readInt32BE(8) ^ (packet | 0), 8)
  return nonce
}

/** Seals what one side sends. A packet number is used once; its generation of keys follows from it. */
export class Sealer {
  #keys: Keys

  /** @param secret 32 bytes, of this direction alone; it belongs to the sealer */
  constructor(secret: Buffer) {
    this.#keys = keysOf(0, secret)
    secret.fill(0)
  }

  /**
   * Seals in place: the frames lie in `datagram` behind HEADER_LENGTH, with TAG_LENGTH bytes left free at its end.
   * @param packet greater than every one before
   */
  seal(datagram: Buffer, packet: number): void {
    const generation = Math.floor(packet / GENERATION)
    while (this.#keys.number < generation) {
      const old = this.#keys
      this.#keys = keysOf(old.number + 1, old.next)
      wipe(old)
    }
    datagram[0] = DATA_BYTE
    datagram.writeUIntBE(packet, 1, 6)
    sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
      datagram.subarray(HEADER_LENGTH),
      datagram.subarray(HEADER_LENGTH, datagram.length - TAG_LENGTH),
      datagram.subarray(0, HEADER_LENGTH),
      null,
      nonceOf(this.#keys.iv, packet),
      this.#keys.key,
    )
  }
}

/** Opens what the peer sealed: of the present generation of keys, the one before and the one after. */
export class Opener {
  #previous: Keys | undefined
  #keys: Keys
  #following: Keys | undefined
  /** Datagrams that did not open under these keys. */
  failures = 0

  /** @param secret 32 bytes, of this direction alone; it belongs to the opener */
  constructor(secret: Buffer) {
    this.#keys = keysOf(0, secret)
    secret.fill(0)
  }

  /** The packet number that a datagram claims; undefined if it is none with frames. */
  static packetOf(datagram: Buffer): number | undefined {
    if (datagram.length < OVERHEAD || datagram[0] !== DATA_BYTE) return undefined
    return datagram.readUIntBE(1, 6)
  }

  /** Opens in place and returns the frames; undefined if the tag is not right, and the datagram is then worthless. */
  open(datagram: Buffer, packet: number): Buffer | undefined {
    const keys = this.#keysFor(Math.floor(packet / GENERATION))
    if (!keys) return undefined
    const payload = datagram.subarray(HEADER_LENGTH, datagram.length - TAG_LENGTH)
    try {
      sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
        payload,
        null,
        datagram.subarray(HEADER_LENGTH),
        datagram.subarray(0, HEADER_LENGTH),
        nonceOf(keys.iv, packet),
        keys.key,
      )
    } catch {
      this.failures++
      return undefined
    }
    if (keys === this.#following) this.#advance(keys)
    return payload
  }

  #keysFor(generation: number): Keys | undefined {
    const { number } = this.#keys
    if (generation === number) return this.#keys
    if (generation === number - 1) return this.#previous
    if (generation !== number + 1) return undefined
    // a forger can make us derive this once; only an authentic datagram makes it count
    this.#following ??= keysOf(number + 1, this.#keys.next)
    return this.#following
  }

  #advance(to: Keys): void {
    wipe(this.#previous)
    this.#previous = this.#keys
    this.#keys = to
    this.#following = undefined
  }
}
