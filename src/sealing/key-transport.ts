import { constants, type KeyObject, publicEncrypt, type webcrypto } from 'node:crypto'
import {
  algorithmOf,
  type Certificate,
  type Digest,
  der,
  type Host,
  hashAndMask,
  parseHashAndMask,
} from '../identity/index.js'
import { issuerAndSerial } from './identifier.js'

/**
 * How the content key gets to an RSA recipient: KeyTransRecipientInfo (RFC 5652, 6.2.1) with RSAES-OAEP (RFC 3560),
 * SHA-256 for both the hash and the mask, said explicitly, since the defaults mean SHA-1.
 */
const RSAES_OAEP = '1.2.840.113549.1.1.7'
const P_SPECIFIED = '1.2.840.113549.1.1.9'
const PADDING = constants.RSA_PKCS1_OAEP_PADDING
const WHAT = 'The sealed message'

export function transportKey(key: Buffer, to: Certificate): der.Asn1 {
  const encrypted = publicEncrypt({ key: to.publicKey, padding: PADDING, oaepHash: 'sha256' }, key)
  const { hash, mask } = hashAndMask('sha256')
  return der.sequence(
    der.integer(0),
    issuerAndSerial(to),
    der.sequence(der.oid(RSAES_OAEP), der.sequence(der.tagged(0, hash), der.tagged(1, mask))),
    der.octetString(encrypted),
  )
}

/** A key on its way, as it was read. */
export interface CarriedKey {
  readonly recipient: der.Asn1
  /** Rejects with whatever node:crypto throws when it is not for this host. */
  open(host: Host): Promise<Buffer>
}

/** @throws PlexusError MALFORMED */
export function parseTransport(value: der.Asn1): CarriedKey {
  const members = der.Members.ofSequence(value, WHAT)
  const version = members.small()
  const recipient = members.any()
  if (version !== (der.isContext(recipient, 0) ? 2 : 0)) throw der.malformed(WHAT)
  const algorithm = algorithmOf(members.any(), WHAT)
  const encrypted = members.octets()
  members.end()
  if (algorithm.oid !== RSAES_OAEP || !algorithm.parameters) throw der.malformed(WHAT)
  const parameters = der.Members.ofSequence(algorithm.parameters, WHAT)
  const digest = parseHashAndMask(parameters, WHAT)
  const label = parameters.optional(2)
  parameters.end()
  if (!digest || (label && !isEmptyLabel(label))) throw der.malformed(WHAT)
  return {
    recipient,
    open: (host) => decryptAside(host.privateKey, digest, encrypted),
  }
}

function isEmptyLabel(label: der.Asn1): boolean {
  const members = der.Members.ofSequence(der.Members.only(label, WHAT), WHAT)
  const empty = members.oid() === P_SPECIFIED && members.octets().length === 0
  members.end()
  return empty
}

/**
 * In the thread pool, which only WebCrypto offers: anybody who has the certificate can ask for as many of these, and 6 ms
 * of RSA 4096 would each time hold up every socket.
 */
async function decryptAside(key: KeyObject, digest: Digest, encrypted: Buffer): Promise<Buffer> {
  const imported = await keyFor(key, digest)
  return Buffer.from(await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, imported, encrypted))
}

const HASH: Readonly<Record<Digest, string>> = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' }

const imported = new WeakMap<KeyObject, Map<Digest, Promise<webcrypto.CryptoKey>>>()

/** The key as WebCrypto knows it, made once for each digest. */
function keyFor(key: KeyObject, digest: Digest): Promise<webcrypto.CryptoKey> {
  const known = imported.get(key) ?? new Map<Digest, Promise<webcrypto.CryptoKey>>()
  imported.set(key, known)
  const found = known.get(digest)
  if (found) return found
  const octets = key.export({ type: 'pkcs8', format: 'der' })
  const algorithm = { name: 'RSA-OAEP', hash: HASH[digest] }
  const made = crypto.subtle.importKey('pkcs8', octets, algorithm, false, ['decrypt'])
  octets.fill(0)
  known.set(digest, made)
  return made
}
