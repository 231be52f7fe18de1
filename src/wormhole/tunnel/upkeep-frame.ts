import { GENERATION, LAST_PACKET } from './cipher.js'
import type { RenewalPart } from './key-schedule.js'
import { type Reader, varintLength, writeVarint } from './varint.js'

const RENEW = 0x20
const RENEWED = 0x21
const RENEWAL_WANTED = 0x22
const PROOF_WANTED = 0x23
const PROOF = 0x24

const KEY_LENGTH = 32
const LAST_GENERATION = Math.floor(LAST_PACKET / GENERATION)
const FINGERPRINT_LENGTH = 32
const TIME_LENGTH = 6
/** Signatures in one proof: of the certificate, and of the one that takes its place. */
const MOST_SIGNATURES = 2
/** That of RSA with 4096 bits. */
const MOST_SIGNATURE = 512

/** A signature over what only the two sides of a tunnel know. */
export interface ProofSignature {
  /** SHA-256 of the certificate by which it is to be checked. */
  readonly fingerprint: Buffer
  readonly signature: Buffer
}

/** What keeps an open tunnel fresh: only towards a peer that has said in its greeting that it knows of it. */
export type UpkeepFrame =
  | ({ readonly type: 'renew' | 'renewed' } & RenewalPart)
  | { readonly type: 'renewal-wanted'; readonly epoch: number }
  | { readonly type: 'proof-wanted'; readonly round: number }
  | {
      readonly type: 'proof'
      readonly round: number
      /** The exporter of this epoch was signed. */
      readonly epoch: number
      /** When it was signed, in ms since 1970-01-01 UTC by the signer's clock. */
      readonly time: number
      readonly signatures: readonly ProofSignature[]
    }

/** The rest of a frame of that type; undefined if it is none of these. */
export function parseUpkeep(type: number, reader: Reader): UpkeepFrame | undefined {
  switch (type) {
    case RENEW:
    case RENEWED:
      return parseRenewal(type === RENEW ? 'renew' : 'renewed', reader)
    case RENEWAL_WANTED:
      return { type: 'renewal-wanted', epoch: reader.varint() }
    case PROOF_WANTED:
      return { type: 'proof-wanted', round: reader.varint() }
    case PROOF:
      return parseProof(reader)
    default:
      return undefined
  }
}

function parseRenewal(type: 'renew' | 'renewed', reader: Reader): UpkeepFrame | undefined {
  const [epoch, generation] = [reader.varint(), reader.varint()]
  return generation > LAST_GENERATION ? undefined : { type, epoch, generation, key: reader.bytes(KEY_LENGTH) }
}

function parseProof(reader: Reader): UpkeepFrame | undefined {
  const [round, epoch] = [reader.varint(), reader.varint()]
  const time = reader.bytes(TIME_LENGTH)
  const count = reader.byte()
  if (count < 1 || count > MOST_SIGNATURES || reader.bad) return undefined
  const signatures: ProofSignature[] = []
  for (let i = 0; i < count; i++) {
    const fingerprint = reader.bytes(FINGERPRINT_LENGTH)
    const signature = reader.bytes(reader.varint())
    if (reader.bad || signature.length > MOST_SIGNATURE) return undefined
    signatures.push({ fingerprint, signature })
  }
  return { type: 'proof', round, epoch, time: time.readUIntBE(0, TIME_LENGTH), signatures }
}

const TYPE_BYTES = {
  renew: RENEW,
  renewed: RENEWED,
  'renewal-wanted': RENEWAL_WANTED,
  'proof-wanted': PROOF_WANTED,
  proof: PROOF,
} as const

/** The bytes of a frame. @throws RangeError for a proof that no peer would read */
export function upkeepBytes(frame: UpkeepFrame): Buffer {
  const type = Buffer.of(TYPE_BYTES[frame.type])
  switch (frame.type) {
    case 'renew':
    case 'renewed':
      return Buffer.concat([type, varint(frame.epoch), varint(frame.generation), frame.key])
    case 'renewal-wanted':
      return Buffer.concat([type, varint(frame.epoch)])
    case 'proof-wanted':
      return Buffer.concat([type, varint(frame.round)])
    case 'proof': {
      const { round, epoch, signatures } = frame
      const readable = signatures.every(({ signature }) => signature.length <= MOST_SIGNATURE)
      if (!readable || signatures.length < 1 || signatures.length > MOST_SIGNATURES)
        throw new RangeError('A proof has one signature or two, of at most 512 bytes.')
      const time = Buffer.alloc(TIME_LENGTH)
      time.writeUIntBE(frame.time, 0, TIME_LENGTH)
      const signed = signatures.flatMap(({ fingerprint, signature }) => [
        fingerprint,
        varint(signature.length),
        signature,
      ])
      return Buffer.concat([
        type,
        varint(round),
        varint(epoch),
        time,
        Buffer.of(signatures.length),
        ...signed,
      ])
    }
  }
}

function varint(value: number): Buffer {
  const bytes = Buffer.alloc(varintLength(value))
  writeVarint(bytes, 0, value)
  return bytes
}
