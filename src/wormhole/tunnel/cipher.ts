import { hkdfSync } from 'node:crypto'
import { sodium } from './libsodium.js'

/** Byte 0, packet number in 6 bytes. */
export const HEADER_LENGTH = 7
export const TAG_LENGTH = 16
/** What a datagram costs besides its frames. */
export const OVERHEAD = HEADER_LENGTH + TAG_LENGTH

/**
 * How the first byte of a datagram with frames begins: with its highest bit set and the next one clear it is neither STUN,
 * whose first two bits are zero (RFC 8489 section 6.3), nor a greeting. The other six bits are the epoch, modulo 64.
 */
const DATA_BYTE = 0x80
const MARKS = 64

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

/** Behind how many generations an epoch may have begun when the peer hears of it: minutes are one at most. */
const MOST_STEPS = 16

/** Keys of one direction. An epoch begins with fresh secrets of both sides, and has generations one after the other. */
interface Keys {
  readonly epoch: number
  readonly generation: number
  readonly key: Buffer
  readonly iv: Buffer
  readonly next: Buffer
}

function keysOf(epoch: number, generation: number, secret: Buffer): Keys {
  const bytes = derive(secret, Buffer.alloc(0), 'generation', 76)
  return {
    epoch,
    generation,
    key: bytes.subarray(0, 32),
    iv: bytes.subarray(32, 44),
    next: bytes.subarray(44, 76),
  }
}

function following(keys: Keys): Keys {
  return keysOf(keys.epoch, keys.generation + 1, keys.next)
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
    this.#keys = keysOf(0, 0, secret)
    secret.fill(0)
  }

  /** Which epoch the next datagram is of. */
  get epoch(): number {
    return this.#keys.epoch
  }

  /**
   * Goes on to the next epoch: from the next datagram on.
   * @param secret 32 bytes, of this direction alone; it belongs to the sealer
   * @param base the generation that it begins with, no later than the present one
   */
  renew(secret: Buffer, base: number): void {
    const { epoch } = this.#keys
    wipe(this.#keys)
    this.#keys = keysOf(epoch + 1, base, secret)
    secret.fill(0)
  }

  /**
   * Seals in place: the frames lie in `datagram` behind HEADER_LENGTH, with TAG_LENGTH bytes left free at its end.
   * @param packet greater than every one before
   */
  seal(datagram: Buffer, packet: number): void {
    const generation = Math.floor(packet / GENERATION)
    while (this.#keys.generation < generation) {
      const old = this.#keys
      this.#keys = following(old)
      wipe(old)
    }
    datagram[0] = DATA_BYTE | (this.#keys.epoch % MARKS)
    datagram.writeUIntBE(packet, 1, 6)
    sodium().crypto_aead_chacha20poly1305_ietf_encrypt(
      datagram.subarray(HEADER_LENGTH),
      datagram.subarray(HEADER_LENGTH, datagram.length - TAG_LENGTH),
      datagram.subarray(0, HEADER_LENGTH),
      null,
      nonceOf(this.#keys.iv, packet),
      this.#keys.key,
    )
  }

  /** Forgets the keys: nothing can be sealed any more. */
  wipe(): void {
    wipe(this.#keys)
  }
}

/**
 * Opens what the peer sealed: of the present generation of keys, the one before and the one after; and of the next epoch,
 * once its keys are there, while the peer has not begun with it.
 */
export class Opener {
  #newest: Keys
  /** What is before the newest keys, and may still come. */
  #older: Keys[] = []
  #following: Keys | undefined
  /** The next epoch, at the generation of the newest keys, and the generation after that. */
  #coming: { keys: Keys; after: Keys | undefined } | undefined
  /** Datagrams that did not open under these keys. */
  failures = 0

  /** @param secret 32 bytes, of this direction alone; it belongs to the opener */
  constructor(secret: Buffer) {
    this.#newest = keysOf(0, 0, secret)
    secret.fill(0)
  }

  /** The packet number that a datagram claims; undefined if it is none with frames. */
  static packetOf(datagram: Buffer): number | undefined {
    if (datagram.length < OVERHEAD || ((datagram[0] as number) & 0xc0) !== DATA_BYTE) return undefined
    return datagram.readUIntBE(1, 6)
  }

  /** The newest epoch of which something has come. */
  get epoch(): number {
    return this.#newest.epoch
  }

  /** Whether the peer's next epoch may begin with that generation: with the newest, or one a little before. */
  canRenew(base: number): boolean {
    const steps = this.#newest.generation - base
    return steps >= 0 && steps <= MOST_STEPS
  }

  /**
   * From now on datagrams of the next epoch are opened too.
   * @param secret 32 bytes, of this direction alone; it belongs to the opener
   * @param base the generation that it begins with, as the peer says: one of which `canRenew` is true
   */
  renew(secret: Buffer, base: number): void {
    if (!this.canRenew(base)) throw new RangeError('An epoch begins with a generation of now.')
    const { epoch } = this.#newest
    this.#dropComing()
    this.#coming = { keys: keysOf(epoch + 1, base, secret), after: undefined }
    secret.fill(0)
    this.#catchUp()
  }

  /** Opens in place and returns the frames; undefined if the tag is not right, and the datagram is then worthless. */
  open(datagram: Buffer, packet: number): Buffer | undefined {
    const mark = (datagram[0] as number) % MARKS
    const keys = this.#keysFor(mark, Math.floor(packet / GENERATION))
    if (!keys) return undefined
    const payload = datagram.subarray(HEADER_LENGTH, datagram.length - TAG_LENGTH)
    try {
      sodium().crypto_aead_chacha20poly1305_ietf_decrypt(
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
    if (keys !== this.#newest) this.#advance(keys)
    return payload
  }

  /** Forgets what came before the present epoch: whatever of it is on its way still is not opened any more. */
  forgetOlder(): void {
    this.#keepOlder(this.#older.filter(({ epoch }) => epoch === this.#newest.epoch))
  }

  /** Forgets the keys: nothing can be opened any more. */
  wipe(): void {
    this.#keepOlder([])
    this.#dropComing()
    wipe(this.#following)
    wipe(this.#newest)
  }

  // a forger can make us derive each of the coming ones once; only an authentic datagram makes one count
  #keysFor(mark: number, generation: number): Keys | undefined {
    const newest = this.#newest
    const coming = this.#coming
    if (mark === newest.epoch % MARKS) {
      if (generation === newest.generation) return newest
      if (generation === newest.generation + 1) {
        this.#following ??= following(newest)
        return this.#following
      }
    } else if (coming && mark === coming.keys.epoch % MARKS) {
      if (generation === coming.keys.generation) return coming.keys
      if (generation === coming.keys.generation + 1) {
        coming.after ??= following(coming.keys)
        return coming.after
      }
    }
    return this.#older.find((keys) => keys.epoch % MARKS === mark && keys.generation === generation)
  }

  #advance(to: Keys): void {
    const old = this.#newest
    const coming = this.#coming
    if (to === this.#following) {
      this.#newest = to
      this.#following = undefined
      this.#keepOlder([old])
      this.#catchUp()
    } else if (coming && (to === coming.keys || to === coming.after)) {
      this.#newest = to
      wipe(this.#following)
      this.#following = to === coming.keys ? coming.after : undefined
      this.#coming = undefined
      this.#keepOlder(to === coming.keys ? [old] : [old, coming.keys])
    }
  }

  /** The peer numbers its packets upwards: the next epoch begins no earlier than the newest generation. */
  #catchUp(): void {
    const coming = this.#coming
    if (!coming) return
    while (coming.keys.generation < this.#newest.generation) {
      const old = coming.keys
      coming.keys = coming.after ?? following(old)
      coming.after = undefined
      wipe(old)
    }
  }

  #keepOlder(kept: Keys[]): void {
    for (const keys of this.#older) if (!kept.includes(keys)) wipe(keys)
    // what follows from them is there, or is not to be known any more
    for (const { next } of kept) next.fill(0)
    this.#older = kept
  }

  #dropComing(): void {
    wipe(this.#coming?.keys)
    wipe(this.#coming?.after)
    this.#coming = undefined
  }
}
