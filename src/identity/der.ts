import asn1 from 'node-forge/lib/asn1.js'
import { PlexusError } from '../errors/index.js'

/**
 * A value of ASN.1 as X.509 and CMS use it (X.690), over node-forge's codec. What is written is DER; what is read may
 * be BER with indefinite lengths and octet strings in pieces, as `openssl cms -stream` writes it. Of the codec's own
 * shape, but said here: the declarations of this program name no package that has none.
 */
export interface Asn1 {
  /** 0x00 universal, 0x40 application, 0x80 context-specific, 0xc0 private. */
  tagClass: number
  /** The tag number. */
  type: number
  constructed: boolean
  /** Octets as a string of characters 0 to 255, or what a constructed value consists of. */
  value: string | Asn1[]
}

/** Deeper than any certificate or message of ours, and shallow enough that no stack overflows. */
const MAX_DEPTH = 32

const UNIVERSAL = 0x00
const CONTEXT = 0x80

/** Universal tag numbers (X.680, 8.4). */
export const TAG = {
  boolean: 1,
  integer: 2,
  bitString: 3,
  octetString: 4,
  null: 5,
  oid: 6,
  utf8String: 12,
  sequence: 16,
  set: 17,
  utcTime: 23,
  generalizedTime: 24,
} as const

/** What every mistake in the structure is reported as; it says nothing that a forger could learn from. */
export function malformed(what: string): PlexusError {
  return new PlexusError('MALFORMED', `${what} is malformed.`)
}

const primitive = (tag: number, value: Uint8Array | string): Asn1 =>
  asn1.create(UNIVERSAL, tag, false, typeof value === 'string' ? value : latin1(value))

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

export const sequence = (...items: Asn1[]): Asn1 => asn1.create(UNIVERSAL, TAG.sequence, true, items)
export const octetString = (bytes: Uint8Array): Asn1 => primitive(TAG.octetString, bytes)
export const utf8String = (text: string): Asn1 => primitive(TAG.utf8String, Buffer.from(text, 'utf8'))
export const oid = (dotted: string): Asn1 => primitive(TAG.oid, asn1.oidToDer(dotted).getBytes())
export const nothing = (): Asn1 => primitive(TAG.null, '')
export const yes = (): Asn1 => primitive(TAG.boolean, '\xff')
/** A BIT STRING, of which the last `unused` bits do not count. */
export const bitString = (bytes: Uint8Array, unused = 0): Asn1 =>
  primitive(TAG.bitString, Buffer.concat([Buffer.of(unused), bytes]))

/** An INTEGER: a number below 128, or the octets of a larger one, two's complement and big-endian. */
export const integer = (value: number | Uint8Array): Asn1 =>
  primitive(TAG.integer, typeof value === 'number' ? Buffer.of(value) : value)

/** A SET OF, in the order that DER wants: by encoding (X.690, 11.6). */
export function setOf(...items: Asn1[]): Asn1 {
  const sorted = items.map((item) => ({ item, der: encode(item) }))
  sorted.sort((a, b) => Buffer.compare(a.der, b.der))
  return asn1.create(
    UNIVERSAL,
    TAG.set,
    true,
    sorted.map(({ item }) => item),
  )
}

/** `[number] EXPLICIT`, or `[number] IMPLICIT` of something constructed. */
export const tagged = (number: number, ...items: Asn1[]): Asn1 => asn1.create(CONTEXT, number, true, items)
/** `[number] IMPLICIT` of something that is not constructed, such as an OCTET STRING. */
export const taggedOctets = (number: number, bytes: Uint8Array): Asn1 =>
  asn1.create(CONTEXT, number, false, latin1(bytes))

/** A Time of X.509: UTCTime until 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5). */
export function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? primitive(TAG.utcTime, asn1.dateToUtcTime(date))
    : primitive(TAG.generalizedTime, asn1.dateToGeneralizedTime(date))
}

export function encode(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1')
}

/** Reads exactly one value. @throws PlexusError MALFORMED, also when bytes follow */
export function decode(bytes: Uint8Array, what: string): Asn1 {
  try {
    const options = { strict: true, parseAllBytes: true, decodeBitStrings: false, maxDepth: MAX_DEPTH }
    return asn1.fromDer(latin1(bytes), options)
  } catch {
    throw malformed(what)
  }
}

function isUniversal(value: Asn1, tag: number): boolean {
  return value.tagClass === UNIVERSAL && value.type === tag
}

/**
 * Reads a constructed value member by member, in order. Every method throws PlexusError MALFORMED when the next
 * member is not what was asked for.
 */
export class Members {
  readonly #items: readonly Asn1[]
  readonly #what: string
  #next = 0

  private constructor(items: readonly Asn1[], what: string) {
    this.#items = items
    this.#what = what
  }

  static ofSequence(value: Asn1, what: string): Members {
    if (!isUniversal(value, TAG.sequence)) throw malformed(what)
    return Members.of(value, what)
  }

  static ofSet(value: Asn1, what: string): Members {
    if (!isUniversal(value, TAG.set)) throw malformed(what)
    return Members.of(value, what)
  }

  /** The members of whatever is constructed: the caller has looked at the tag. */
  static of(value: Asn1, what: string): Members {
    if (!value.constructed || typeof value.value === 'string') throw malformed(what)
    return new Members(value.value, what)
  }

  /** Exactly one member, and that one. */
  static only(value: Asn1, what: string): Asn1 {
    const members = Members.of(value, what)
    const only = members.any()
    members.end()
    return only
  }

  get more(): boolean {
    return this.#next < this.#items.length
  }

  any(): Asn1 {
    const item = this.#items[this.#next++]
    if (!item) throw malformed(this.#what)
    return item
  }

  sequence(): Members {
    return Members.ofSequence(this.any(), this.#what)
  }

  set(): Members {
    return Members.ofSet(this.any(), this.#what)
  }

  oid(): string {
    return oidOf(this.any(), this.#what)
  }

  octets(): Buffer {
    const item = this.any()
    if (!isUniversal(item, TAG.octetString)) throw malformed(this.#what)
    return octetsOf(item, this.#what)
  }

  integer(): Buffer {
    const item = this.any()
    if (!isUniversal(item, TAG.integer)) throw malformed(this.#what)
    return primitiveOctets(item, this.#what)
  }

  /** An INTEGER from 0 to 65535, such as a version. */
  small(): number {
    const bytes = this.integer()
    if (bytes.length < 1 || bytes.length > 3) throw malformed(this.#what)
    const value = bytes.readIntBE(0, bytes.length)
    if (value < 0 || value > 0xffff) throw malformed(this.#what)
    return value
  }

  /** The next member if it is `[number]`. */
  optional(number: number): Asn1 | undefined {
    const item = this.#items[this.#next]
    if (item?.tagClass !== CONTEXT || item.type !== number) return undefined
    this.#next++
    return item
  }

  /** The next member if it is of this universal type. */
  optionalUniversal(tag: number): Asn1 | undefined {
    const item = this.#items[this.#next]
    if (!item || !isUniversal(item, tag)) return undefined
    this.#next++
    return item
  }

  tagged(number: number): Asn1 {
    const item = this.optional(number)
    if (!item) throw malformed(this.#what)
    return item
  }

  end(): void {
    if (this.more) throw malformed(this.#what)
  }
}

function oidOf(value: Asn1, what: string): string {
  if (!isUniversal(value, TAG.oid)) throw malformed(what)
  const bytes = primitiveOctets(value, what)
  try {
    const dotted = asn1.derToOid(bytes.toString('latin1'))
    // an OID has one encoding: a padded or unfinished one would be two names of one algorithm
    if (dotted && Buffer.from(asn1.oidToDer(dotted).getBytes(), 'latin1').equals(bytes)) return dotted
  } catch {
    // falls through to the one error
  }
  throw malformed(what)
}

/** The octets of a value that is not constructed, whatever its tag. */
export function primitiveOctets(value: Asn1, what: string): Buffer {
  if (value.constructed || typeof value.value !== 'string') throw malformed(what)
  return Buffer.from(value.value, 'latin1')
}

/** The octets of an OCTET STRING, or of an implicitly tagged one, in one piece or (BER) in several. */
export function octetsOf(value: Asn1, what: string): Buffer {
  if (!value.constructed) return primitiveOctets(value, what)
  if (typeof value.value === 'string') throw malformed(what)
  const pieces = value.value.map((piece) => {
    if (!isUniversal(piece, TAG.octetString)) throw malformed(what)
    return octetsOf(piece, what)
  })
  return Buffer.concat(pieces)
}

/** The octets of a BIT STRING whose bits all count, such as a key or a signature. */
export function bitsOf(value: Asn1, what: string): Buffer {
  if (!isUniversal(value, TAG.bitString)) throw malformed(what)
  const bytes = primitiveOctets(value, what)
  if (bytes[0] !== 0) throw malformed(what)
  return bytes.subarray(1)
}

/** Whether this is the SEQUENCE, SET, … of that tag. */
export function isTag(value: Asn1, tag: number): boolean {
  return isUniversal(value, tag)
}

/** Whether this is `[number]`. */
export function isContext(value: Asn1, number: number): boolean {
  return value.tagClass === CONTEXT && value.type === number
}
