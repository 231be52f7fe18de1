import { createHash } from 'node:crypto'
import { derive } from './cipher.js'

const LENGTH = 32

/** One half of a renewal: what a side has said, and the other one has read. */
export interface RenewalPart {
  /** The epoch that begins with it, from 1. */
  readonly epoch: number
  /** The generation of the sender's keys when it said so: its new keys begin with that. */
  readonly generation: number
  /** An X25519 key for this renewal alone. */
  readonly key: Buffer
}

/** The secrets that an epoch of a tunnel begins with, 32 bytes each: one for what each side sends. */
export interface EpochSecrets {
  readonly initiator: Buffer
  readonly responder: Buffer
}

/**
 * What the keys of a tunnel come from, one epoch after the other. A chaining key goes through all of them, and mixes in
 * a fresh X25519 secret each time: whoever has all the keys of one epoch, and no private key of the next renewal, cannot
 * know what comes. From the chaining key nothing follows of the epochs so far: of each, only what comes after is kept.
 * (The root key of the Double Ratchet is the model.)
 */
export class KeySchedule {
  #epoch = 0
  #chain: Buffer
  #transcript: Buffer
  /** Of this epoch and of the one before. */
  #exporters: Buffer[]

  /**
   * @param input what the tunnel's first keys come from
   * @param transcript SHA-256 of the two greetings
   */
  constructor(input: Uint8Array, transcript: Buffer) {
    this.#transcript = Buffer.from(transcript)
    this.#chain = derive(input, transcript, 'renewal', LENGTH)
    this.#exporters = [derive(input, transcript, 'exporter', LENGTH)]
  }

  /** How often it was renewed. */
  get epoch(): number {
    return this.#epoch
  }

  /**
   * Goes on to the next epoch.
   * @param shared the X25519 secret of both keys; it is overwritten
   */
  renew(shared: Buffer, initiator: RenewalPart, responder: RenewalPart): EpochSecrets {
    const hash = createHash('sha256').update(this.#transcript)
    this.#transcript = hash.update(bytesOf(initiator)).update(bytesOf(responder)).digest()
    const input = Buffer.concat([this.#chain, shared])
    const bytes = derive(input, this.#transcript, 'epoch', 4 * LENGTH)
    const part = (at: number) => Buffer.from(bytes.subarray(at * LENGTH, (at + 1) * LENGTH))
    this.#chain.fill(0)
    this.#chain = part(0)
    const secrets = { initiator: part(1), responder: part(2) }
    for (const old of this.#exporters.splice(0, this.#exporters.length - 1)) old.fill(0)
    this.#exporters.push(part(3))
    for (const used of [input, shared, bytes]) used.fill(0)
    this.#epoch++
    return secrets
  }

  /** 32 bytes that are this tunnel's alone, in this epoch; nothing of epochs before the last one. They are a copy. */
  exporter(epoch: number): Buffer | undefined {
    const found = this.#exporters[this.#exporters.length - 1 - (this.#epoch - epoch)]
    return found && Buffer.from(found)
  }

  wipe(): void {
    for (const key of [this.#chain, ...this.#exporters]) key.fill(0)
  }
}

/** The octets that are bound: every field has one length. */
function bytesOf({ epoch, generation, key }: RenewalPart): Buffer {
  const head = Buffer.alloc(12)
  head.writeUIntBE(epoch, 0, 6)
  head.writeUIntBE(generation, 6, 6)
  return Buffer.concat([head, key])
}
