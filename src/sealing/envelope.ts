import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { PlexusError } from '../errors/index.js'
import { algorithmOf, type Certificate, der, type Host } from '../identity/index.js'
import { identifies } from './identifier.js'
import { agreeKey, parseAgreement } from './key-agreement.js'
import { type CarriedKey, parseTransport, transportKey } from './key-transport.js'

/**
 * CMS AuthEnvelopedData (RFC 5083) with AES-256-GCM (RFC 5084), for one recipient. Anybody can make one for anybody:
 * that it opens says nothing about who sent it.
 */
const OID = {
  data: '1.2.840.113549.1.7.1',
  authEnvelopedData: '1.2.840.113549.1.9.16.1.23',
  aes256Gcm: '2.16.840.1.101.3.4.1.46',
} as const

const KEY_BYTES = 32
/** RFC 5084, 3.2 recommends 12; the key is new for every message, so the nonce cannot come twice. */
const NONCE_BYTES = 12
/** The whole tag of GCM. The default in the standard is 12, which is less. */
const TAG_BYTES = 16
const WHAT = 'The sealed message'

export function envelop(content: Uint8Array, to: Certificate): Buffer {
  const key = randomBytes(KEY_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  const encrypted = Buffer.concat([cipher.update(content), cipher.final()])
  const recipient = to.keyKind === 'rsa' ? transportKey(key, to) : agreeKey(key, to)
  key.fill(0)
  const parameters = der.sequence(der.octetString(nonce), der.integer(TAG_BYTES))
  const enveloped = der.sequence(
    der.integer(0),
    der.setOf(recipient),
    der.sequence(
      der.oid(OID.data),
      der.sequence(der.oid(OID.aes256Gcm), parameters),
      der.taggedOctets(0, encrypted),
    ),
    der.octetString(cipher.getAuthTag()),
  )
  return der.encode(der.sequence(der.oid(OID.authEnvelopedData), der.tagged(0, enveloped)))
}

interface Envelope {
  readonly key: CarriedKey
  readonly nonce: Buffer
  readonly encrypted: Buffer
  readonly tag: Buffer
}

/**
 * Opens an envelope that is for this host.
 * @throws PlexusError MALFORMED when it is no such envelope; UNSEALABLE, always the same, when it does not open
 */
export async function openEnvelope(bytes: Uint8Array, host: Host): Promise<Buffer> {
  const { key, nonce, encrypted, tag } = parseEnvelope(bytes)
  if (!identifies(key.recipient, host.certificate)) throw unsealable()
  try {
    const contentKey = await key.open(host)
    if (contentKey.length !== KEY_BYTES) throw unsealable()
    const cipher = createDecipheriv('aes-256-gcm', contentKey, nonce, { authTagLength: TAG_BYTES })
    contentKey.fill(0)
    cipher.setAuthTag(tag)
    return Buffer.concat([cipher.update(encrypted), cipher.final()])
  } catch {
    throw unsealable()
  }
}

/** Without a cause: which step failed is what an oracle would be made of. */
function unsealable(): PlexusError {
  return new PlexusError('UNSEALABLE', 'The message cannot be opened with the key of this identity.')
}

function parseEnvelope(bytes: Uint8Array): Envelope {
  const outer = der.Members.ofSequence(der.decode(bytes, WHAT), WHAT)
  if (outer.oid() !== OID.authEnvelopedData) throw der.malformed(WHAT)
  const inner = der.Members.ofSequence(der.Members.only(outer.tagged(0), WHAT), WHAT)
  outer.end()
  if (inner.small() !== 0) throw der.malformed(WHAT)
  const recipients = inner.set()
  const recipient = recipients.any()
  recipients.end()
  const key = der.isContext(recipient, 1) ? parseAgreement(recipient) : parseTransport(recipient)
  const { nonce, encrypted } = parseContent(inner.sequence())
  // Attributes beside the content would be authenticated by GCM as well; nobody here writes or reads any.
  const tag = inner.octets()
  inner.end()
  if (nonce.length !== NONCE_BYTES || tag.length !== TAG_BYTES) throw der.malformed(WHAT)
  return { key, nonce, encrypted, tag }
}

function parseContent(members: der.Members): { nonce: Buffer; encrypted: Buffer } {
  if (members.oid() !== OID.data) throw der.malformed(WHAT)
  const algorithm = algorithmOf(members.any(), WHAT)
  if (algorithm.oid !== OID.aes256Gcm || !algorithm.parameters) throw der.malformed(WHAT)
  const parameters = der.Members.ofSequence(algorithm.parameters, WHAT)
  const nonce = parameters.octets()
  if (parameters.small() !== TAG_BYTES) throw der.malformed(WHAT)
  parameters.end()
  const encrypted = der.octetsOf(members.tagged(0), WHAT)
  members.end()
  return { nonce, encrypted }
}
