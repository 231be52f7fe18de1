import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { algorithmOf, type Certificate, der, type Host } from '../identity/index.js'
import { identifies } from '../sealing/index.js'
import { openKey, RSA_ENCRYPTION, transportKey } from './key-transport.js'

/**
 * PKCS#7 EnvelopedData (RFC 2315, 10; read also as RFC 5652, 6 writes it) for one recipient with an RSA key. Nothing
 * in it is authentic: whether it was changed, only the signature inside tells.
 */
const OID = { data: '1.2.840.113549.1.7.1', envelopedData: '1.2.840.113549.1.7.3' } as const

interface Cipher {
  readonly name: 'des-ede3-cbc' | 'aes-128-cbc' | 'aes-192-cbc' | 'aes-256-cbc'
  /** Bytes. */
  readonly key: number
  /** Of a block, and of the initialisation vector, in bytes. */
  readonly block: number
}

/** 3DES is what a plexus 3.x peer writes, and so what it is sure to read. */
const DES3_OID = '1.2.840.113549.3.7'
const DES3: Cipher = { name: 'des-ede3-cbc', key: 24, block: 8 }

const CIPHERS: Readonly<Record<string, Cipher>> = {
  [DES3_OID]: DES3,
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', key: 16, block: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', key: 24, block: 16 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', key: 32, block: 16 },
}

/** A mail to several is none of a peer; more would be RSA work for nothing. */
const MAX_RECIPIENTS = 8
const WHAT = 'The enveloped message'

/** In DER, encrypted with 3DES-CBC. */
export function envelop(content: Uint8Array, to: Certificate): Buffer {
  const key = randomBytes(DES3.key)
  const vector = randomBytes(DES3.block)
  const cipher = createCipheriv(DES3.name, key, vector)
  const encrypted = Buffer.concat([cipher.update(content), cipher.final()])
  const recipient = transportKey(key, to)
  key.fill(0)
  const enveloped = der.sequence(
    der.integer(0),
    der.setOf(recipient),
    der.sequence(
      der.oid(OID.data),
      der.sequence(der.oid(DES3_OID), der.octetString(vector)),
      der.taggedOctets(0, encrypted),
    ),
  )
  return der.encode(der.sequence(der.oid(OID.envelopedData), der.tagged(0, enveloped)))
}

/**
 * Opens an envelope that is for this host. Whoever calls this must make one error of whatever goes wrong, here and in
 * reading what comes out: with CBC, each difference that a sender can see is an oracle.
 * @throws PlexusError MALFORMED
 */
export function openEnvelope(bytes: Uint8Array, host: Host): Buffer {
  const outer = der.Members.ofSequence(der.decode(bytes, WHAT), WHAT)
  if (outer.oid() !== OID.envelopedData) throw der.malformed(WHAT)
  const inner = der.Members.ofSequence(der.Members.only(outer.tagged(0), WHAT), WHAT)
  outer.end()
  if (inner.small() > 2) throw der.malformed(WHAT)
  const encryptedKey = keyFor(inner.set(), host.certificate)
  const content = inner.sequence()
  inner.end()
  const { cipher, vector, encrypted } = parseContent(content)
  const key = openKey(encryptedKey, host, cipher.key)
  const decipher = createDecipheriv(cipher.name, key, vector)
  key.fill(0)
  decipher.setAutoPadding(false)
  return unpad(Buffer.concat([decipher.update(encrypted), decipher.final()]), cipher.block)
}

/** The encrypted key of the recipient that is meant by this certificate. */
function keyFor(recipients: der.Members, certificate: Certificate): Buffer {
  for (let count = 0; recipients.more && count < MAX_RECIPIENTS; count++) {
    const recipient = recipients.sequence()
    if (recipient.small() > 2) throw der.malformed(WHAT)
    const identifier = recipient.any()
    const algorithm = algorithmOf(recipient.any(), WHAT)
    const encrypted = recipient.octets()
    recipient.end()
    if (identifies(identifier, certificate) && algorithm.oid === RSA_ENCRYPTION) return encrypted
  }
  throw der.malformed(WHAT)
}

function parseContent(members: der.Members): { cipher: Cipher; vector: Buffer; encrypted: Buffer } {
  if (members.oid() !== OID.data) throw der.malformed(WHAT)
  const algorithm = der.Members.ofSequence(members.any(), WHAT)
  const dotted = algorithm.oid()
  const cipher = Object.hasOwn(CIPHERS, dotted) ? CIPHERS[dotted] : undefined
  const vector = algorithm.octets()
  algorithm.end()
  const encrypted = der.octetsOf(members.tagged(0), WHAT)
  members.end()
  const whole = cipher && vector.length === cipher.block && encrypted.length > 0
  if (!whole || encrypted.length % cipher.block !== 0) throw der.malformed(WHAT)
  return { cipher, vector, encrypted }
}

/** RFC 5652, 6.3: as many bytes as the last one says, each of that value. */
function unpad(padded: Buffer, block: number): Buffer {
  const count = padded.at(-1) ?? 0
  let wrong = count < 1 || count > block ? 1 : 0
  for (let at = 1; at <= block; at++) {
    const inside = at <= count ? 0xff : 0
    wrong |= ((padded[padded.length - at] ?? 0) ^ count) & inside
  }
  if (wrong !== 0) throw der.malformed(WHAT)
  return padded.subarray(0, padded.length - count)
}
