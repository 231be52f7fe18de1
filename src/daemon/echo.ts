import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { Random } from '../net/index.js'
import type { Role } from '../pairing/index.js'
import type { SessionKeys } from '../sealing/index.js'

/**
 * The datagrams of a ping, which pass through a hole after the punch. All are AES-256-GCM under keys of their own, one
 * for each direction: a 96-bit random nonce, 5 sealed bytes (the type, and a sequence number, big-endian), the tag.
 * `hello` asks whether the peer listens yet and is answered as an `echo` is; `bye` ends it.
 */
export type EchoType = 'hello' | 'echo' | 'reply' | 'bye'

export interface Echo {
  readonly type: EchoType
  /** 32 bits, unsigned. */
  readonly sequence: number
}

const TYPES: readonly EchoType[] = ['hello', 'echo', 'reply', 'bye']
const ALGORITHM = 'aes-256-gcm'
const NONCE = 12
const BODY = 5
const TAG = 16

export class EchoCipher {
  readonly #own: Buffer
  readonly #peer: Buffer
  readonly #random: Random

  constructor(role: Role, keys: SessionKeys, random: Random) {
    this.#own = keys.expand(`ping ${role}`, 32)
    this.#peer = keys.expand(role === 'inviter' ? 'ping accepter' : 'ping inviter', 32)
    this.#random = random
  }

  seal({ type, sequence }: Echo): Buffer {
    const body = Buffer.alloc(BODY)
    body.writeUInt8(TYPES.indexOf(type))
    body.writeUInt32BE(sequence, 1)
    const nonce = this.#random(NONCE)
    const cipher = createCipheriv(ALGORITHM, this.#own, nonce, { authTagLength: TAG })
    const sealed = Buffer.concat([cipher.update(body), cipher.final()])
    return Buffer.concat([nonce, sealed, cipher.getAuthTag()])
  }

  /** What the peer sent; undefined for anything else. */
  open(datagram: Buffer): Echo | undefined {
    if (datagram.length !== NONCE + BODY + TAG) return undefined
    const decipher = createDecipheriv(ALGORITHM, this.#peer, datagram.subarray(0, NONCE), {
      authTagLength: TAG,
    })
    decipher.setAuthTag(datagram.subarray(NONCE + BODY))
    try {
      const body = Buffer.concat([decipher.update(datagram.subarray(NONCE, NONCE + BODY)), decipher.final()])
      const type = TYPES[body.readUInt8()]
      return type && { type, sequence: body.readUInt32BE(1) }
    } catch {
      return undefined
    }
  }
}
