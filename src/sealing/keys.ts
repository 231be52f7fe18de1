import {
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { PlexusError } from '../errors/index.js'

/** `hybrid`: X25519 and ML-KEM-768, so that whoever wants the keys has to break both. */
export type Agreement = 'x25519' | 'hybrid'

/** What both sides of a session know once invite and answer have been exchanged, and nobody else. */
export interface SessionKeys {
  /** What the keys come of. */
  readonly agreement: Agreement
  /** AEAD keys for the datagrams of the punch, 32 bytes each, by who sends. */
  readonly punch: { readonly inviter: Buffer; readonly accepter: Buffer }
  /** `%secret%`: from 1 to 2^64 - 1. */
  readonly secret: bigint
  /** `%key%`: 32 bytes. */
  readonly key: Buffer
  /**
   * `length` bytes (1 to 8160) for another use. The same label gives the same bytes, and a shorter request their
   * beginning: take one label for each use and direction.
   */
  expand(label: string, length: number): Buffer
}

/** Every label begins with this: the program, and the generation of its protocol. */
const LABEL = 'plexus 4 '

/** What precedes the 32 bytes of an X25519 key in SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

/**
 * A key pair for one session: X25519 (RFC 7748), the public key as 32 bytes. It is exported as DER: the JWK export of Node 20
 * holds the key's lock while it allocates, and waits for ever if the collector meets what generated the key just then.
 */
export function ephemeral(): { publicKey: Buffer; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return { publicKey: Buffer.from(spki.subarray(SPKI_PREFIX.length)), privateKey }
}

/**
 * The keys of a session (HKDF with SHA-256, RFC 5869): the input is the X25519 secret, and behind it that of ML-KEM-768 if
 * there is one (draft-ietf-tls-hybrid-design, section 3.3). Both texts hold the public parts of both. The salt is
 * SHA-256(length of invite ‖ invite ‖ length of answer ‖ answer), each length 8 bytes big-endian, so that no other
 * pair of texts gives the same, and the info of each key is `plexus 4 <label>` in ASCII:
 * `punch inviter`, `punch accepter`, `secret`, `key`.
 *
 * @param inviteContent the octets inside the SignedData of the invite
 * @param answerContent those of the answer
 * @param encapsulated the 32 bytes of ML-KEM-768, where both sides have it
 * @throws PlexusError MALFORMED for a public key of another length or one that gives an all-zero secret
 */
export function deriveKeys(
  own: KeyObject,
  peerPublic: Uint8Array,
  inviteContent: Uint8Array,
  answerContent: Uint8Array,
  encapsulated?: Uint8Array,
): SessionKeys {
  const salt = transcript(inviteContent, answerContent)
  const shared = agree(own, peerPublic)
  const input = encapsulated ? Buffer.concat([shared, encapsulated]) : shared
  const expand = (label: string, length: number) =>
    Buffer.from(hkdfSync('sha256', input, salt, LABEL + label, length))
  return {
    agreement: encapsulated ? 'hybrid' : 'x25519',
    punch: { inviter: expand('punch inviter', 32), accepter: expand('punch accepter', 32) },
    secret: nonzero(expand('secret', 16)),
    key: expand('key', 32),
    expand,
  }
}

function transcript(...texts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const text of texts) {
    const length = Buffer.alloc(8)
    length.writeBigUInt64BE(BigInt(text.length))
    hash.update(length).update(text)
  }
  return hash.digest()
}

function agree(own: KeyObject, peerPublic: Uint8Array): Buffer {
  const refuse = () =>
    new PlexusError('MALFORMED', 'The ephemeral key of the peer is not a valid X25519 key.')
  if (peerPublic.length !== 32) throw refuse()
  let secret: Buffer
  try {
    const spki = Buffer.concat([SPKI_PREFIX, peerPublic])
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    secret = diffieHellman({ privateKey: own, publicKey })
  } catch {
    throw refuse() // OpenSSL refuses the points of small order by itself
  }
  // RFC 7748, 6.1: the peer would have chosen the secret alone
  if (secret.every((byte) => byte === 0)) throw refuse()
  return secret
}

/** 16 uniform bytes onto 1 … 2^64 - 1: evenly to within 2^-64, and never 0, which old hooks take for no secret. */
function nonzero(bytes: Buffer): bigint {
  const wide = (bytes.readBigUInt64BE(0) << 64n) | bytes.readBigUInt64BE(8)
  return (wide % (2n ** 64n - 1n)) + 1n
}
