import {
  type Attribute,
  type AttributeName,
  attributeType,
  decodeAttribute,
  encodeAttribute,
  isComprehensionRequired,
  MAGIC_COOKIE,
  malformed,
} from './attribute.js'
import {
  fingerprint,
  INTEGRITY_LENGTH,
  integrity,
  integritySha256,
  MAX_SHA256_LENGTH,
  MIN_SHA256_LENGTH,
  SEAL_TYPES,
  type Seal,
  type Sealed,
} from './integrity.js'

/** The class of a message (RFC 8489 section 5), in the order of its two bits. */
export const MESSAGE_CLASSES = ['request', 'indication', 'success', 'error'] as const
export type MessageClass = (typeof MESSAGE_CLASSES)[number]

/** The Binding method, the only one here (RFC 8489 section 18.2). */
export const BINDING = 0x001
/** Bytes of the header: type, length, magic cookie, transaction id (RFC 8489 section 5). */
export const HEADER_LENGTH = 20
/** Bytes of a transaction id: 96 bits. */
export const TRANSACTION_ID_LENGTH = 12

/** A STUN message, decoded once. Its seals are verified over `raw`, the very bytes that came in. */
export interface Message extends Sealed {
  readonly class: MessageClass
  /** 12 bits; 1 is Binding. */
  readonly method: number
  /** 12 bytes. */
  readonly transaction: Buffer
  /** In the order of the message; what follows MESSAGE-INTEGRITY counts for nothing and is not here. */
  readonly attributes: readonly Attribute[]
  /** Types that the message may not be processed without knowing, and that are not known here. */
  readonly unknownRequired: readonly number[]
}

/** What `encode` makes a message of. */
export interface MessageContent {
  readonly class: MessageClass
  readonly method?: number
  /** 12 bytes, unpredictable in a request, the request's in a response. */
  readonly transaction: Buffer
  readonly attributes?: readonly Attribute[]
  /** The key of a MESSAGE-INTEGRITY to append (RFC 8489 section 9.1.1). */
  readonly integrityKey?: Buffer
  /** The key of a MESSAGE-INTEGRITY-SHA256 to append, of `length` bytes (16 to 32, a multiple of 4; 32). */
  readonly integritySha256?: { readonly key: Buffer; readonly length?: number }
  /** Whether to append a FINGERPRINT. */
  readonly fingerprint?: boolean
}

/**
 * Whether a datagram is STUN, for telling it from others on one port: the first two bits are zero and the magic
 * cookie is in its place (RFC 8489 section 5). It may still be malformed.
 */
export function isStun(data: Uint8Array): boolean {
  return (
    data.length >= HEADER_LENGTH &&
    ((data[0] ?? 0xff) & 0xc0) === 0 &&
    data[4] === 0x21 &&
    data[5] === 0x12 &&
    data[6] === 0xa4 &&
    data[7] === 0x42
  )
}

/**
 * Decodes one datagram that is exactly one STUN message (RFC 8489 sections 5, 6.3 and 14). The bytes are kept, not
 * copied, and must not change afterwards.
 * @throws PlexusError MALFORMED
 */
export function decode(data: Uint8Array): Message {
  return read(Buffer.from(data.buffer, data.byteOffset, data.byteLength), 'strict')
}

/**
 * Decodes an answer as far as it can be read. Servers are odd in what they add: an attribute whose value is not what its
 * type says counts for nothing, as do bytes behind the message, missing padding, and what follows an attribute that goes
 * beyond the end. To be used only where the source and the transaction id say already who answers.
 * @throws PlexusError MALFORMED if not even the header is one, or the message is cut off
 */
export function decodeAnswer(data: Uint8Array): Message {
  return read(Buffer.from(data.buffer, data.byteOffset, data.byteLength), 'lenient')
}

type Reading = 'strict' | 'lenient'

function read(whole: Buffer, reading: Reading): Message {
  const strict = reading === 'strict'
  let raw = whole
  if (raw.length < HEADER_LENGTH) throw malformed(`it has ${raw.length} bytes`)
  const type = raw.readUInt16BE(0)
  if ((type & 0xc000) !== 0) throw malformed('its first two bits are not zero')
  if (raw.readUInt32BE(4) !== MAGIC_COOKIE) throw malformed('the magic cookie is missing')
  const length = raw.readUInt16BE(2)
  if (!strict) {
    if (raw.length < HEADER_LENGTH + length) throw malformed('it is cut off')
    raw = raw.subarray(0, HEADER_LENGTH + length)
  } else if (length % 4 !== 0) throw malformed(`its length of ${length} bytes is not a multiple of 4`)
  else if (length !== raw.length - HEADER_LENGTH) {
    throw malformed(`its length of ${length} bytes is not the ${raw.length - HEADER_LENGTH} that follow`)
  }
  const transaction = raw.subarray(8, HEADER_LENGTH)
  const attributes: Attribute[] = []
  const unknownRequired: number[] = []
  const seals: { integrity?: Seal; integritySha256?: Seal; fingerprint?: Seal } = {}
  for (const { type, offset, value } of strict ? records(raw) : readableRecords(raw)) {
    if (seals.fingerprint) {
      if (strict) throw malformed('something follows FINGERPRINT')
      break
    }
    if (type === SEAL_TYPES.FINGERPRINT) {
      if (value.length === 4) seals.fingerprint = { offset, value }
      else if (strict) throw malformed(`FINGERPRINT has ${value.length} bytes`)
    } else if (seals.integritySha256) {
      // "agents MUST ignore all other attributes that follow MESSAGE-INTEGRITY-SHA256" (section 14.6)
    } else if (type === SEAL_TYPES['MESSAGE-INTEGRITY-SHA256']) {
      const fits = value.length >= MIN_SHA256_LENGTH && value.length <= MAX_SHA256_LENGTH
      if (fits && value.length % 4 === 0) seals.integritySha256 = { offset, value }
      else if (strict) throw malformed(`MESSAGE-INTEGRITY-SHA256 has ${value.length} bytes`)
    } else if (seals.integrity) {
      // the same of MESSAGE-INTEGRITY, but for its SHA256 form and FINGERPRINT (section 14.5)
    } else if (type === SEAL_TYPES['MESSAGE-INTEGRITY']) {
      if (value.length === INTEGRITY_LENGTH) seals.integrity = { offset, value }
      else if (strict) throw malformed(`MESSAGE-INTEGRITY has ${value.length} bytes`)
    } else {
      const attribute = strict
        ? decodeAttribute(type, value, transaction)
        : readable(type, value, transaction)
      if (!attribute) continue
      attributes.push(attribute)
      if (attribute.name === 'UNKNOWN' && isComprehensionRequired(type)) unknownRequired.push(type)
    }
  }
  const kind = MESSAGE_CLASSES[((type >> 7) & 0x2) | ((type >> 4) & 0x1)] ?? 'request'
  const method = (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2)
  return { raw, class: kind, method, transaction, attributes, unknownRequired, seals }
}

/** An attribute, or undefined if its value is not what its type says. */
function readable(type: number, value: Buffer, transaction: Buffer): Attribute | undefined {
  try {
    return decodeAttribute(type, value, transaction)
  } catch {
    return undefined
  }
}

interface AttributeRecord {
  readonly type: number
  readonly offset: number
  readonly value: Buffer
}

/** The attributes as far as they can be read: as they should be, else all without padding, else those before the first odd one. */
function readableRecords(raw: Buffer): readonly AttributeRecord[] {
  const padded = walk(raw, padding)
  if (padded.complete) return padded.records
  const bare = walk(raw, () => 0)
  return bare.complete ? bare.records : padded.records
}

function walk(
  raw: Buffer,
  gap: (length: number) => number,
): { readonly records: readonly AttributeRecord[]; readonly complete: boolean } {
  const records: AttributeRecord[] = []
  let offset = HEADER_LENGTH
  while (offset + 4 <= raw.length) {
    const length = raw.readUInt16BE(offset + 2)
    const end = offset + 4 + length
    if (end > raw.length) return { records, complete: false }
    records.push({ type: raw.readUInt16BE(offset), offset, value: raw.subarray(offset + 4, end) })
    offset = end + gap(length)
  }
  // the padding of the last one may be missing
  return { records, complete: offset >= raw.length }
}

/** The attributes one after the other; each with its padding has to lie within the message. */
function* records(raw: Buffer): Generator<AttributeRecord> {
  let offset = HEADER_LENGTH
  while (offset < raw.length) {
    // the length of the message is a multiple of 4, and so is the offset: a header always fits
    const type = raw.readUInt16BE(offset)
    const length = raw.readUInt16BE(offset + 2)
    const end = offset + 4 + length
    if (end + padding(length) > raw.length) throw malformed(`attribute ${hex(type)} goes beyond its end`)
    yield { type, offset, value: raw.subarray(offset + 4, end) }
    offset = end + padding(length)
  }
}

/** Encodes a message. Its seals are computed in the order MESSAGE-INTEGRITY, its SHA256 form, FINGERPRINT. */
export function encode(content: MessageContent): Buffer {
  const { method = BINDING, transaction } = content
  const bits = MESSAGE_CLASSES.indexOf(content.class)
  const type =
    (method & 0x000f) |
    ((method & 0x0070) << 1) |
    ((method & 0x0f80) << 2) |
    ((bits & 0x1) << 4) |
    ((bits & 0x2) << 7)
  const header = Buffer.alloc(8)
  header.writeUInt16BE(type, 0)
  header.writeUInt32BE(MAGIC_COOKIE, 4)
  let raw = Buffer.concat([header, transaction])
  const append = (type: number, value: Buffer) => {
    raw = Buffer.concat([raw, record(type, value)])
    raw.writeUInt16BE(raw.length - HEADER_LENGTH, 2)
  }
  for (const attribute of content.attributes ?? []) {
    append(attributeType(attribute), encodeAttribute(attribute, transaction))
  }
  const { integrityKey, integritySha256: sha256 } = content
  if (integrityKey) append(SEAL_TYPES['MESSAGE-INTEGRITY'], integrity(raw, integrityKey))
  if (sha256) {
    append(SEAL_TYPES['MESSAGE-INTEGRITY-SHA256'], integritySha256(raw, sha256.key, sha256.length))
  }
  if (content.fingerprint) append(SEAL_TYPES.FINGERPRINT, fingerprint(raw))
  return raw
}

/** The first attribute of a name: of several only the first counts (RFC 8489 section 14). */
export function find<N extends AttributeName>(
  message: Message,
  name: N,
): Extract<Attribute, { readonly name: N }> | undefined {
  return message.attributes.find(
    (attribute): attribute is Extract<Attribute, { readonly name: N }> => attribute.name === name,
  )
}

/** Type, length, value, and zeros up to a multiple of 4 bytes. */
function record(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(value.length, 2)
  return Buffer.concat([head, value, Buffer.alloc(padding(value.length))])
}

function padding(length: number): number {
  return (4 - (length % 4)) % 4
}

function hex(type: number): string {
  return `0x${type.toString(16).padStart(4, '0')}`
}
