import { PlexusError } from '../errors/index.js'
import { addressBytes, addressText, type Endpoint, familyOf } from '../net/index.js'

/** The magic cookie of every STUN message since RFC 5389 (RFC 8489 section 5). */
export const MAGIC_COOKIE = 0x2112a442

/**
 * Attribute types with a value of their own (RFC 8489 section 18.3, RFC 5780 section 9.1). SOURCE-ADDRESS and
 * CHANGED-ADDRESS are RFC 3489's: reserved today, but old servers send them, and unknown types below 0x8000 would
 * make their answers void.
 */
export const ATTRIBUTE_TYPES = {
  'MAPPED-ADDRESS': 0x0001,
  'CHANGE-REQUEST': 0x0003,
  'SOURCE-ADDRESS': 0x0004,
  'CHANGED-ADDRESS': 0x0005,
  USERNAME: 0x0006,
  'ERROR-CODE': 0x0009,
  'UNKNOWN-ATTRIBUTES': 0x000a,
  REALM: 0x0014,
  NONCE: 0x0015,
  'XOR-MAPPED-ADDRESS': 0x0020,
  PADDING: 0x0026,
  'RESPONSE-PORT': 0x0027,
  SOFTWARE: 0x8022,
  'ALTERNATE-SERVER': 0x8023,
  'RESPONSE-ORIGIN': 0x802b,
  'OTHER-ADDRESS': 0x802c,
} as const

type AddressName =
  | 'MAPPED-ADDRESS'
  | 'SOURCE-ADDRESS'
  | 'CHANGED-ADDRESS'
  | 'XOR-MAPPED-ADDRESS'
  | 'ALTERNATE-SERVER'
  | 'RESPONSE-ORIGIN'
  | 'OTHER-ADDRESS'
type TextName = 'USERNAME' | 'REALM' | 'NONCE' | 'SOFTWARE'

/** A decoded attribute. MESSAGE-INTEGRITY, its SHA256 form and FINGERPRINT are seals of the message instead. */
export type Attribute =
  | { readonly [N in AddressName]: { readonly name: N; readonly endpoint: Endpoint } }[AddressName]
  | { readonly [N in TextName]: { readonly name: N; readonly text: string } }[TextName]
  /** `code` 300 to 699 (RFC 8489 section 14.8). */
  | { readonly name: 'ERROR-CODE'; readonly code: number; readonly reason: string }
  | { readonly name: 'UNKNOWN-ATTRIBUTES'; readonly types: readonly number[] }
  /** Whether the answer is to come from the other address, the other port (RFC 5780 section 7.2). */
  | { readonly name: 'CHANGE-REQUEST'; readonly address: boolean; readonly port: boolean }
  | { readonly name: 'RESPONSE-PORT'; readonly port: number }
  /** `length` in bytes; what they say does not matter (RFC 5780 section 7.6). */
  | { readonly name: 'PADDING'; readonly length: number }
  | { readonly name: 'UNKNOWN'; readonly type: number; readonly value: Buffer }

export type AttributeName = Attribute['name']

/** The longest text of an attribute in bytes: 127 characters of up to 6 bytes each (RFC 8489 section 14.9). */
const MAX_TEXT = 763
/** The longest USERNAME in bytes: RFC 5389 allows fewer than 513, RFC 8489 fewer than 509. */
const MAX_USERNAME = 512
const FAMILY_IPV4 = 0x01
const FAMILY_IPV6 = 0x02
/** The flags of CHANGE-REQUEST (RFC 5780 section 7.2). */
const CHANGE_ADDRESS = 0x4
const CHANGE_PORT = 0x2

/** RESPONSE-ADDRESS, PASSWORD and REFLECTED-FROM, which servers of RFC 3489 may add, and which mean nothing any more. */
const OF_RFC_3489: ReadonlySet<number> = new Set([0x0002, 0x0007, 0x000b])

const NAMES = new Map<number, keyof typeof ATTRIBUTE_TYPES>(
  Object.entries(ATTRIBUTE_TYPES).map(([name, type]) => [type, name as keyof typeof ATTRIBUTE_TYPES]),
)

/** Whether who does not know the type must not process the message (RFC 8489 section 14). */
export function isComprehensionRequired(type: number): boolean {
  return type < 0x8000 && !OF_RFC_3489.has(type)
}

/** The type of an attribute on the wire. */
export function attributeType(attribute: Attribute): number {
  return attribute.name === 'UNKNOWN' ? attribute.type : ATTRIBUTE_TYPES[attribute.name]
}

/** @throws PlexusError MALFORMED; the error that every parser here throws, and no other */
export function malformed(why: string): PlexusError {
  return new PlexusError('MALFORMED', `Not a STUN message: ${why}.`)
}

/**
 * Decodes the value of one attribute; a type that is not known becomes UNKNOWN.
 * @param transaction the 12 bytes of the transaction id, which XOR-MAPPED-ADDRESS depends on
 * @throws PlexusError MALFORMED if the value is not what its type says
 */
export function decodeAttribute(type: number, value: Buffer, transaction: Buffer): Attribute {
  const name = NAMES.get(type)
  switch (name) {
    case undefined:
      return { name: 'UNKNOWN', type, value }
    case 'XOR-MAPPED-ADDRESS':
      return { name, endpoint: decodeEndpoint(name, value, xorMask(transaction)) }
    case 'MAPPED-ADDRESS':
    case 'SOURCE-ADDRESS':
    case 'CHANGED-ADDRESS':
    case 'ALTERNATE-SERVER':
    case 'RESPONSE-ORIGIN':
    case 'OTHER-ADDRESS':
      return { name, endpoint: decodeEndpoint(name, value, PLAIN) }
    case 'USERNAME':
    case 'REALM':
    case 'NONCE':
    case 'SOFTWARE':
      if (value.length > (name === 'USERNAME' ? MAX_USERNAME : MAX_TEXT))
        throw malformed(`${name} is too long`)
      return { name, text: value.toString('utf8') }
    case 'ERROR-CODE':
      return decodeErrorCode(value)
    case 'UNKNOWN-ATTRIBUTES':
      if (value.length % 2 !== 0) throw malformed(`${name} has an odd length`)
      return {
        name,
        types: Array.from({ length: value.length / 2 }, (_, index) => value.readUInt16BE(index * 2)),
      }
    case 'CHANGE-REQUEST': {
      if (value.length !== 4) throw malformed(`${name} has ${value.length} bytes`)
      const flags = value.readUInt32BE(0)
      return { name, address: (flags & CHANGE_ADDRESS) !== 0, port: (flags & CHANGE_PORT) !== 0 }
    }
    case 'RESPONSE-PORT':
      // RFC 5780 section 7.5 is read in both ways: two bytes and padding, or four bytes
      if (value.length !== 2 && value.length !== 4) throw malformed(`${name} has ${value.length} bytes`)
      return { name, port: value.readUInt16BE(0) }
    case 'PADDING':
      return { name, length: value.length }
  }
}

/** The value of an attribute as it stands in a message, without header and padding. */
export function encodeAttribute(attribute: Attribute, transaction: Buffer): Buffer {
  switch (attribute.name) {
    case 'UNKNOWN':
      return attribute.value
    case 'XOR-MAPPED-ADDRESS':
      return encodeEndpoint(attribute.endpoint, xorMask(transaction))
    case 'MAPPED-ADDRESS':
    case 'SOURCE-ADDRESS':
    case 'CHANGED-ADDRESS':
    case 'ALTERNATE-SERVER':
    case 'RESPONSE-ORIGIN':
    case 'OTHER-ADDRESS':
      return encodeEndpoint(attribute.endpoint, PLAIN)
    case 'USERNAME':
    case 'REALM':
    case 'NONCE':
    case 'SOFTWARE':
      return Buffer.from(attribute.text, 'utf8')
    case 'ERROR-CODE': {
      const head = Buffer.from([0, 0, Math.floor(attribute.code / 100), attribute.code % 100])
      return Buffer.concat([head, Buffer.from(attribute.reason, 'utf8')])
    }
    case 'UNKNOWN-ATTRIBUTES':
      return Buffer.concat(attribute.types.map(uint16))
    case 'CHANGE-REQUEST':
      return Buffer.from([
        0,
        0,
        0,
        (attribute.address ? CHANGE_ADDRESS : 0) | (attribute.port ? CHANGE_PORT : 0),
      ])
    case 'RESPONSE-PORT':
      return uint16(attribute.port)
    case 'PADDING':
      return Buffer.alloc(attribute.length)
  }
}

function decodeErrorCode(value: Buffer): Attribute {
  if (value.length < 4 || value.length > 4 + MAX_TEXT) {
    throw malformed(`ERROR-CODE has ${value.length} bytes`)
  }
  // 21 reserved bits, then the hundreds in 3 bits, then a whole byte with the rest (RFC 8489 section 14.8)
  const hundreds = value.readUInt8(2) & 0x07
  const rest = value.readUInt8(3)
  if (hundreds < 3 || hundreds > 6 || rest > 99) throw malformed(`ERROR-CODE is ${hundreds}, ${rest}`)
  return { name: 'ERROR-CODE', code: hundreds * 100 + rest, reason: value.toString('utf8', 4) }
}

/** What an address is XORed with: cookie and transaction id; its first two bytes serve the port as well. */
function xorMask(transaction: Buffer): Buffer {
  const cookie = Buffer.alloc(4)
  cookie.writeUInt32BE(MAGIC_COOKIE)
  return Buffer.concat([cookie, transaction])
}

const PLAIN = Buffer.alloc(16)

function decodeEndpoint(name: string, value: Buffer, mask: Buffer): Endpoint {
  const family = value.length < 4 ? undefined : value.readUInt8(1)
  const size = family === FAMILY_IPV4 ? 4 : family === FAMILY_IPV6 ? 16 : undefined
  if (size === undefined) throw malformed(`${name} has no known address family`)
  if (value.length !== 4 + size) throw malformed(`${name} has ${value.length} bytes`)
  return {
    address: addressText(xor(value.subarray(4), mask)),
    port: value.readUInt16BE(2) ^ mask.readUInt16BE(0),
  }
}

function encodeEndpoint(endpoint: Endpoint, mask: Buffer): Buffer {
  const head = Buffer.from([0, familyOf(endpoint) === 4 ? FAMILY_IPV4 : FAMILY_IPV6, 0, 0])
  head.writeUInt16BE(endpoint.port ^ mask.readUInt16BE(0), 2)
  return Buffer.concat([head, xor(addressBytes(endpoint.address), mask)])
}

function xor(bytes: Buffer, mask: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, index) => byte ^ (mask[index] ?? 0)))
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}
