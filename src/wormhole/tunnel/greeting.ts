import { createHash } from 'node:crypto'
import sodium from 'sodium-native'
import type { Random } from '../../net/index.js'
import { derive, Opener, Sealer, TAG_LENGTH } from './cipher.js'

/**
 * Bytes of every datagram of the handshake. All are as long, so that none that is answered is answered with more.
 */
export const GREETING_LENGTH = 128

const NONCE_LENGTH = 24
const BODY_LENGTH = GREETING_LENGTH - NONCE_LENGTH - TAG_LENGTH
const KEY_LENGTH = 32

/** The generation of the protocol: a peer that speaks another is not understood, and opens nothing. */
const VERSION = 1

/**
 * The handshake is Noise NNpsk0 in its shape: the shared key proves both sides, an X25519 key of each makes the keys
 * fresh, so that a key that serves again after a restart never gives a nonce twice, and a key that is stolen later
 * opens nothing.
 * - `hello`: the initiator's ephemeral key
 * - `welcome`: the responder's, and the one that it answers
 * - `knock`: the responder is there; it opens its own NAT
 */
export type Greeting =
  | { readonly type: 'hello'; readonly ephemeral: Buffer; readonly body: Buffer }
  | { readonly type: 'welcome'; readonly ephemeral: Buffer; readonly answers: Buffer; readonly body: Buffer }
  | { readonly type: 'knock' }

const TYPES = ['hello', 'welcome', 'knock'] as const

/** An X25519 key pair for one tunnel. */
export class Ephemeral {
  readonly publicKey = Buffer.alloc(KEY_LENGTH)
  readonly #secretKey: Buffer

  constructor(random: Random) {
    this.#secretKey = Buffer.from(random(KEY_LENGTH))
    sodium.crypto_scalarmult_base(this.publicKey, this.#secretKey)
  }

  /** The shared secret; undefined for a public key of small order, with which the peer would choose it alone. */
  agree(publicKey: Buffer): Buffer | undefined {
    const shared = Buffer.alloc(KEY_LENGTH)
    try {
      sodium.crypto_scalarmult(shared, this.#secretKey, publicKey)
    } catch {
      return undefined
    }
    return shared.every((byte) => byte === 0) ? undefined : shared
  }

  wipe(): void {
    this.#secretKey.fill(0)
  }
}

/** What the data of a tunnel is sealed and opened with. */
export interface TunnelKeys {
  readonly sealer: Sealer
  readonly opener: Opener
}

/** Seals and opens the datagrams of the handshake, under keys from the shared one: one for each direction. */
export class Greeter {
  readonly #initiator: boolean
  readonly #key: Buffer
  readonly #own: Buffer
  readonly #peer: Buffer
  readonly #random: Random

  /** @param key the 32 bytes that both sides know */
  constructor(initiator: boolean, key: Uint8Array, random: Random) {
    if (key.length !== KEY_LENGTH) throw new RangeError('A tunnel needs a key of 32 bytes.')
    this.#initiator = initiator
    this.#key = Buffer.from(key)
    this.#random = random
    const none = Buffer.alloc(0)
    const first = derive(key, none, 'hello initiator', KEY_LENGTH)
    const second = derive(key, none, 'hello responder', KEY_LENGTH)
    this.#own = initiator ? first : second
    this.#peer = initiator ? second : first
  }

  hello(ephemeral: Buffer): { datagram: Buffer; body: Buffer } {
    return this.#seal('hello', ephemeral)
  }

  welcome(ephemeral: Buffer, answers: Buffer): { datagram: Buffer; body: Buffer } {
    return this.#seal('welcome', ephemeral, answers)
  }

  knock(): Buffer {
    return this.#seal('knock').datagram
  }

  /** True for what may be one; everything else is no greeting. */
  static isGreeting(datagram: Uint8Array): boolean {
    return datagram.length === GREETING_LENGTH && ((datagram[0] as number) & 0xc0) === 0x40
  }

  /** The greeting in a datagram of the peer; undefined for anything else. */
  open(datagram: Buffer): Greeting | undefined {
    if (!Greeter.isGreeting(datagram)) return undefined
    const body = Buffer.allocUnsafe(BODY_LENGTH)
    try {
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        body,
        null,
        datagram.subarray(NONCE_LENGTH),
        null,
        datagram.subarray(0, NONCE_LENGTH),
        this.#peer,
      )
    } catch {
      return undefined
    }
    const type = TYPES[body[1] as number]
    if (body[0] !== VERSION || type === undefined) return undefined
    const ephemeral = body.subarray(2, 2 + KEY_LENGTH)
    const answers = body.subarray(2 + KEY_LENGTH, 2 + 2 * KEY_LENGTH)
    if (type === 'knock') return this.#initiator ? { type } : undefined
    if (type === 'welcome') return this.#initiator ? { type, ephemeral, answers, body } : undefined
    return this.#initiator ? undefined : { type, ephemeral, body }
  }

  /**
   * The keys of the tunnel: HKDF over the shared key and the X25519 secret, salted with the two greetings.
   * @returns undefined if the peer's ephemeral key cannot serve
   */
  keys(own: Ephemeral, peerEphemeral: Buffer, hello: Buffer, welcome: Buffer): TunnelKeys | undefined {
    const shared = own.agree(peerEphemeral)
    if (!shared) return undefined
    const salt = createHash('sha256').update(hello).update(welcome).digest()
    const input = Buffer.concat([this.#key, shared])
    const first = derive(input, salt, 'data initiator', KEY_LENGTH)
    const second = derive(input, salt, 'data responder', KEY_LENGTH)
    input.fill(0)
    shared.fill(0)
    return {
      sealer: new Sealer(this.#initiator ? first : second),
      opener: new Opener(this.#initiator ? second : first),
    }
  }

  /** Forgets the keys. */
  wipe(): void {
    for (const key of [this.#key, this.#own, this.#peer]) key.fill(0)
  }

  #seal(type: Greeting['type'], ...parts: readonly Buffer[]): { datagram: Buffer; body: Buffer } {
    const body = Buffer.alloc(BODY_LENGTH)
    body[0] = VERSION
    body[1] = TYPES.indexOf(type)
    let at = 2
    for (const part of parts) at += part.copy(body, at)
    const datagram = Buffer.allocUnsafe(GREETING_LENGTH)
    datagram.set(this.#random(NONCE_LENGTH))
    // 01 in the first two bits: neither STUN nor a datagram with frames; 190 random bits are left
    datagram[0] = ((datagram[0] as number) & 0x3f) | 0x40
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      datagram.subarray(NONCE_LENGTH),
      body,
      null,
      null,
      datagram.subarray(0, NONCE_LENGTH),
      this.#own,
    )
    return { datagram, body }
  }
}
