import { createHash } from 'node:crypto'
import type { Random } from '../../net/index.js'
import { derive, Opener, Sealer, TAG_LENGTH } from './cipher.js'
import { KeySchedule } from './key-schedule.js'
import { sodium } from './libsodium.js'

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
 * What a side knows beyond the first version of this handshake, whose greetings have zeros here:
 * 1. CONFIRM, and a time in every greeting;
 * 2. renewals, the frames of `Upkeep`.
 */
export const REVISION = 2
export const RENEWING = 2

/** In the byte of the revision: the sender can prove its identity anew, and wants the peer to. */
const PROVES = 0x80

/** Where revision and time lie in a body: behind the two ephemeral keys, where zeros were. */
const REVISION_AT = 2 + 2 * KEY_LENGTH
const TIME_AT = REVISION_AT + 1
const TIME_LENGTH = 6

/**
 * The handshake is Noise NNpsk0 in its shape: the shared key proves both sides, an X25519 key of each makes the keys
 * fresh, so that a key that serves again after a restart never gives a nonce twice, and a key that is stolen later
 * opens nothing.
 * - `hello`: the initiator's ephemeral key. It may be a recorded one
 * - `welcome`: the responder's, and the one that it answers
 * - `knock`: the responder is there; it opens its own NAT
 * - `confirm`: the initiator's, and the responder's that it has seen, which no recorded greeting can know
 */
export interface Greeting {
  readonly type: (typeof TYPES)[number]
  /** The sender's. Zeros in a knock of revision 0. */
  readonly ephemeral: Buffer
  /** The receiver's, in a welcome and a confirm; else zeros. */
  readonly answers: Buffer
  readonly revision: number
  /** Whether the sender can prove its identity anew inside the tunnel. */
  readonly proves: boolean
  /** When the sender began, in ms since 1970-01-01 UTC by its clock; 0 if it does not say. */
  readonly time: number
  readonly body: Buffer
}

const TYPES = ['hello', 'welcome', 'knock', 'confirm'] as const

/** What each side sends. */
const OF_INITIATOR: readonly Greeting['type'][] = ['hello', 'confirm']

/** An X25519 key pair for one tunnel. */
export class Ephemeral {
  readonly publicKey = Buffer.alloc(KEY_LENGTH)
  readonly #secretKey: Buffer

  constructor(random: Random) {
    this.#secretKey = random(KEY_LENGTH) // no copy: it is overwritten
    sodium().crypto_scalarmult_base(this.publicKey, this.#secretKey)
  }

  /** The shared secret; undefined for a public key of small order, with which the peer would choose it alone. */
  agree(publicKey: Buffer): Buffer | undefined {
    const shared = Buffer.alloc(KEY_LENGTH)
    try {
      sodium().crypto_scalarmult(shared, this.#secretKey, publicKey)
    } catch {
      return undefined
    }
    return shared.every((byte) => byte === 0) ? undefined : shared
  }

  wipe(): void {
    this.#secretKey.fill(0)
  }
}

type Abilities = Pick<Greeting, 'revision' | 'proves'>

/** What the data of a tunnel is sealed and opened with. */
export interface TunnelKeys {
  readonly sealer: Sealer
  readonly opener: Opener
  readonly schedule: KeySchedule
}

/** Seals and opens the datagrams of the handshake, under keys from the shared one: one for each direction. */
export class Greeter {
  readonly #initiator: boolean
  readonly #key: Buffer
  readonly #own: Buffer
  readonly #peer: Buffer
  readonly #random: Random
  readonly #abilities: Abilities
  readonly #time: number

  /**
   * @param options `key`: the 32 bytes that both sides know; `date`: the time as it is, in ms since 1970-01-01 UTC, 0 if
   *   that is not known; `revision`: that of this side; `proves`: whether this side can prove its identity
   */
  constructor(options: {
    initiator: boolean
    key: Uint8Array
    random: Random
    date?: number
    revision?: number
    proves?: boolean
  }) {
    const { initiator, key, random, date = 0, revision = REVISION, proves = false } = options
    if (key.length !== KEY_LENGTH) throw new RangeError('A tunnel needs a key of 32 bytes.')
    this.#initiator = initiator
    this.#key = Buffer.from(key)
    this.#random = random
    this.#abilities = { revision, proves: proves && revision >= RENEWING }
    this.#time = revision === 0 ? 0 : Math.max(0, Math.floor(date)) % 2 ** (8 * TIME_LENGTH)
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

  /** The bytes inside a welcome, always the same for the same two keys. */
  welcomeBody(ephemeral: Buffer, answers: Buffer): Buffer {
    return bodyOf('welcome', ephemeral, answers, this.#abilities, this.#time)
  }

  confirm(ephemeral: Buffer, answers: Buffer): Buffer {
    return this.#seal('confirm', ephemeral, answers).datagram
  }

  knock(ephemeral: Buffer): Buffer {
    return this.#seal('knock', this.#abilities.revision === 0 ? ZEROS : ephemeral).datagram
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
      sodium().crypto_aead_xchacha20poly1305_ietf_decrypt(
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
    if (OF_INITIATOR.includes(type) === this.#initiator) return undefined
    return {
      type,
      ephemeral: body.subarray(2, 2 + KEY_LENGTH),
      answers: body.subarray(2 + KEY_LENGTH, REVISION_AT),
      revision: (body[REVISION_AT] as number) & ~PROVES,
      proves: ((body[REVISION_AT] as number) & PROVES) !== 0,
      time: body.readUIntBE(TIME_AT, TIME_LENGTH),
      body,
    }
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
    const schedule = new KeySchedule(input, salt)
    input.fill(0)
    shared.fill(0)
    return {
      schedule,
      sealer: new Sealer(this.#initiator ? first : second),
      opener: new Opener(this.#initiator ? second : first),
    }
  }

  /** Forgets the keys. */
  wipe(): void {
    for (const key of [this.#key, this.#own, this.#peer]) key.fill(0)
  }

  #seal(
    type: Greeting['type'],
    ephemeral: Buffer,
    answers: Buffer = ZEROS,
  ): { datagram: Buffer; body: Buffer } {
    const body = bodyOf(type, ephemeral, answers, this.#abilities, this.#time)
    const datagram = Buffer.allocUnsafe(GREETING_LENGTH)
    datagram.set(this.#random(NONCE_LENGTH))
    // 01 in the first two bits: neither STUN nor a datagram with frames; 190 random bits are left
    datagram[0] = ((datagram[0] as number) & 0x3f) | 0x40
    sodium().crypto_aead_xchacha20poly1305_ietf_encrypt(
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

const ZEROS: Buffer = Buffer.alloc(KEY_LENGTH)

function bodyOf(
  type: Greeting['type'],
  ephemeral: Buffer,
  answers: Buffer,
  { revision, proves }: Abilities,
  time: number,
): Buffer {
  const body = Buffer.alloc(BODY_LENGTH)
  body[0] = VERSION
  body[1] = TYPES.indexOf(type)
  ephemeral.copy(body, 2)
  answers.copy(body, 2 + KEY_LENGTH)
  body[REVISION_AT] = revision | (proves ? PROVES : 0)
  body.writeUIntBE(time, TIME_AT, TIME_LENGTH)
  return body
}

/** The hello that a confirm goes with: the same keys come of both. */
export function helloBodyOf({ ephemeral, revision, proves, time }: Greeting): Buffer {
  return bodyOf('hello', ephemeral, ZEROS, { revision, proves }, time)
}
