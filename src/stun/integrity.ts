import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** The attributes that vouch for the bytes before them (RFC 8489 sections 14.5 to 14.7). */
export const SEAL_TYPES = {
  'MESSAGE-INTEGRITY': 0x0008,
  'MESSAGE-INTEGRITY-SHA256': 0x001c,
  FINGERPRINT: 0x8028,
} as const

/** One of them in a message: where its header begins, in bytes from the start, and its value. */
export interface Seal {
  readonly offset: number
  readonly value: Buffer
}

/** What can be verified of a message: the very bytes that came in, and where its seals stand in them. */
export interface Sealed {
  readonly raw: Buffer
  /** None of them has been verified. */
  readonly seals: {
    readonly integrity?: Seal
    readonly integritySha256?: Seal
    readonly fingerprint?: Seal
  }
}

/** Bytes of a MESSAGE-INTEGRITY: one SHA-1. */
export const INTEGRITY_LENGTH = 20
/** Bytes of a MESSAGE-INTEGRITY-SHA256: a SHA-256 that a usage of STUN may cut to 16 (RFC 8489 section 14.6). */
export const MIN_SHA256_LENGTH = 16
export const MAX_SHA256_LENGTH = 32
/** What the CRC-32 is XORed with, so that it is not one that the payload has anyway ("STUN", section 14.7). */
const FINGERPRINT_XOR = 0x5354554e

/** The key of the short-term mechanism: the password, already prepared (RFC 8489 section 9.1.1). */
export function shortTermKey(password: string): Buffer {
  return Buffer.from(password, 'utf8')
}

/** The key of the long-term mechanism, of strings already prepared (RFC 8489 sections 9.2.2, 18.5.1). */
export function longTermKey(
  username: string,
  realm: string,
  password: string,
  algorithm: 'md5' | 'sha256' = 'md5',
): Buffer {
  return createHash(algorithm).update(`${username}:${realm}:${password}`, 'utf8').digest()
}

/** The MESSAGE-INTEGRITY that belongs behind `before`, header included. */
export function integrity(before: Buffer, key: Buffer): Buffer {
  return hmac('sha1', before, key, INTEGRITY_LENGTH)
}

/** The MESSAGE-INTEGRITY-SHA256 of `length` bytes that belongs behind `before`, header included. */
export function integritySha256(before: Buffer, key: Buffer, length = MAX_SHA256_LENGTH): Buffer {
  return hmac('sha256', before, key, length)
}

/** The FINGERPRINT that belongs behind `before`, header included. */
export function fingerprint(before: Buffer): Buffer {
  const value = Buffer.alloc(4)
  value.writeUInt32BE((crc32(reaching(before, 4)) ^ FINGERPRINT_XOR) >>> 0)
  return value
}

/** Whether the message has a MESSAGE-INTEGRITY and it was made with `key`. */
export function verifyIntegrity(message: Sealed, key: Buffer): boolean {
  const seal = message.seals.integrity
  return seal !== undefined && equal(seal.value, integrity(message.raw.subarray(0, seal.offset), key))
}

/**
 * Whether the message has a MESSAGE-INTEGRITY-SHA256 and it was made with `key`.
 * @param shortest how many bytes of it there have to be: 32, unless the usage allows fewer, down to 16
 */
export function verifyIntegritySha256(message: Sealed, key: Buffer, shortest = MAX_SHA256_LENGTH): boolean {
  const seal = message.seals.integritySha256
  if (!seal || seal.value.length < shortest) return false
  return equal(seal.value, integritySha256(message.raw.subarray(0, seal.offset), key, seal.value.length))
}

/** Whether the message has a FINGERPRINT and it is right. It tells STUN from other protocols, not friend from foe. */
export function verifyFingerprint(message: Sealed): boolean {
  const seal = message.seals.fingerprint
  return seal !== undefined && equal(seal.value, fingerprint(message.raw.subarray(0, seal.offset)))
}

function hmac(algorithm: 'sha1' | 'sha256', before: Buffer, key: Buffer, length: number): Buffer {
  return createHmac(algorithm, key).update(reaching(before, length)).digest().subarray(0, length)
}

/** The same bytes with a length field that reaches to the end of the seal, whatever follows it (section 14.5). */
function reaching(before: Buffer, sealLength: number): Buffer {
  const copy = Buffer.from(before)
  // the length field counts neither the 20 bytes of the message header, nor leaves out the 4 of the seal's own
  copy.writeUInt16BE(before.length - 20 + 4 + sealLength, 2)
  return copy
}

function equal(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
