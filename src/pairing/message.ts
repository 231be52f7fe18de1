import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName, parseIdentity } from '../identity/index.js'
import { type Endpoint, formatEndpoint, parseEndpoint, scopeOf } from '../net/index.js'
import { type Candidate, NAMED_KINDS, type NatHint } from '../punch/index.js'
import { KEM_CIPHERTEXT, KEM_KEY } from '../sealing/index.js'
import { decodeHint, encodeHint } from './hint.js'

/** The version of this conversation. A plexus 3.x peer speaks another language altogether. */
const VERSION = 4

/** More candidates than this in one offer are a mistake or an attempt to make us probe the world. */
const MAX_CANDIDATES = 32

/** The longest message content that is looked at, in bytes. */
const MAX_CONTENT = 16_384

/** What every message of a pairing says about itself. */
export interface Header {
  readonly from: IdentityName
  readonly to: IdentityName
  /** The application, as in `--app-id`. */
  readonly app: string
  /** 16 random bytes chosen by the inviter, in hex. */
  readonly session: string
  /** When it was made, in ms since 1970-01-01 UTC by the sender's clock. */
  readonly time: number
  /** From when on it is worthless, in the same unit. */
  readonly expires: number
}

/** In `can`: the offer has a part of ML-KEM-768 in `kem`. */
export const CAN_KEM = 'ml-kem-768'

/** What one side brings to a pairing. */
export interface Offer {
  /** An ephemeral X25519 public key: 32 bytes. */
  readonly key: Buffer
  /**
   * The part of ML-KEM-768, where `can` has CAN_KEM: in an invite an encapsulation key (1184 bytes), in an answer the ciphertext
   * (1088 bytes). Here nobody has looked into it yet.
   */
  readonly kem?: Buffer
  readonly candidates: readonly Candidate[]
  /** What is known of the NAT when the offer is made. */
  readonly nat: NatHint
  /** What this side can do beyond the bare punch; unknown words are ignored. */
  readonly can: readonly string[]
}

/** What a pairing is for when it is not for the command: `ping` tries the way and leaves everything else alone. */
export type Purpose = 'ping'

export interface Invite extends Header {
  readonly kind: 'invite'
  /** Without it, for the command. */
  readonly purpose?: Purpose
  /** The seed of the mailbox in which the inviter waits for this session: 32 random bytes. */
  readonly reply: Buffer
  readonly offer: Offer
}

export interface Answer extends Header {
  readonly kind: 'answer'
  readonly offer: Offer
}

/** What a side has found out after its offer. */
export interface Update extends Header {
  readonly kind: 'update'
  /** They add to the earlier ones. */
  readonly candidates: readonly Candidate[]
  /** What is known of the NAT by now. */
  readonly nat: NatHint
}

/** Why an accepter will not pair, told only to senders who have proven who they are. */
export type RefusalCode = (typeof REFUSAL_CODES)[number]

/** A word that is not known stands for the last of them. */
const REFUSAL_CODES = ['APPLICATION', 'CLOCK', 'BUSY', 'NO_PATH', 'COMMAND_MISSING', 'REFUSED'] as const

export interface Refusal extends Header {
  readonly kind: 'refusal'
  readonly code: RefusalCode
  readonly sentence: string
}

/** A side that gives up says so. */
export interface Abort extends Header {
  readonly kind: 'abort'
  /** The code of its failure, in capitals; other versions may know other codes. */
  readonly code: string
  readonly sentence: string
}

export type Message = Invite | Answer | Update | Refusal | Abort

/** The octets that are signed: one JSON object in UTF-8. */
export function encodeMessage(message: Message): Buffer {
  const { from, to, kind, app, session, time, expires } = message
  const header = {
    plexus: VERSION,
    kind,
    from: formatIdentity(from),
    to: formatIdentity(to),
    app,
    session,
    time,
    expires,
  }
  return Buffer.from(JSON.stringify({ ...header, ...encodeBody(message) }))
}

function encodeBody(message: Message): object {
  switch (message.kind) {
    case 'invite':
      return {
        reply: message.reply.toString('base64'),
        offer: encodeOffer(message.offer),
        ...(message.purpose ? { purpose: message.purpose } : {}),
      }
    case 'answer':
      return { offer: encodeOffer(message.offer) }
    case 'update':
      return { candidates: message.candidates.map(encodeCandidate), nat: encodeHint(message.nat) }
    case 'refusal':
      return { code: message.code, sentence: message.sentence }
    case 'abort':
      return { code: message.code, sentence: message.sentence }
  }
}

function encodeOffer(offer: Offer): object {
  return {
    key: offer.key.toString('base64'),
    ...(offer.kem ? { kem: offer.kem.toString('base64') } : {}),
    candidates: offer.candidates.map(encodeCandidate),
    nat: encodeHint(offer.nat),
    can: offer.can,
  }
}

function encodeCandidate(candidate: Candidate): string {
  return `${candidate.kind} ${formatEndpoint(candidate.endpoint)}`
}

/**
 * Reads a message. Nothing in it is trusted yet: who claims to have sent it is what the signature is checked against.
 * @throws PlexusError MALFORMED
 */
export function decodeMessage(content: Uint8Array): Message {
  if (content.length > MAX_CONTENT) throw malformed('it is too long')
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content))
  } catch {
    throw malformed('it is not JSON')
  }
  const fields = record(json, 'the message')
  if (fields.plexus !== VERSION) throw malformed('it is of another version')
  const header: Header = {
    from: identity(fields.from),
    to: identity(fields.to),
    app: text(fields.app, 'app', 255),
    session: hex(fields.session, 'session', 16),
    time: milliseconds(fields.time, 'time'),
    expires: milliseconds(fields.expires, 'expires'),
  }
  switch (fields.kind) {
    case 'invite':
      return {
        ...header,
        kind: 'invite',
        reply: bytes(fields.reply, 'reply', 32),
        offer: decodeOffer(fields.offer, KEM_KEY),
        ...decodePurpose(fields.purpose),
      }
    case 'answer':
      return { ...header, kind: 'answer', offer: decodeOffer(fields.offer, KEM_CIPHERTEXT) }
    case 'update':
      return {
        ...header,
        kind: 'update',
        candidates: decodeCandidates(fields.candidates),
        nat: decodeHint(fields.nat),
      }
    case 'refusal':
      return {
        ...header,
        kind: 'refusal',
        code: refusalCode(fields.code),
        sentence: sentence(fields.sentence),
      }
    case 'abort':
      return { ...header, kind: 'abort', code: abortCode(fields.code), sentence: sentence(fields.sentence) }
    default:
      throw malformed('its kind is unknown')
  }
}

/** @param kem how long its part of ML-KEM-768 is, in bytes */
function decodeOffer(value: unknown, kem: number): Offer {
  const fields = record(value, 'offer')
  const can = Array.isArray(fields.can)
    ? fields.can.filter((word) => typeof word === 'string').slice(0, 32)
    : []
  return {
    key: bytes(fields.key, 'key', 32),
    // without the word it is some other field to come
    ...(can.includes(CAN_KEM) ? { kem: bytes(fields.kem, 'kem', kem) } : {}),
    candidates: decodeCandidates(fields.candidates),
    nat: decodeHint(fields.nat),
    can,
  }
}

/** A purpose to come is not answered: its inviter would be given something else than it asked for. */
function decodePurpose(value: unknown): { purpose?: Purpose } {
  if (value === undefined) return {}
  if (value !== 'ping') throw malformed('its purpose is unknown')
  return { purpose: value }
}

function decodeCandidates(value: unknown): Candidate[] {
  if (!Array.isArray(value) || value.length > MAX_CANDIDATES)
    throw malformed('its list of candidates is invalid')
  const candidates: Candidate[] = []
  for (const item of value) {
    const [kind, where, ...more] = text(item, 'candidate', 80).split(' ')
    const known = NAMED_KINDS.find((name) => name === kind)
    if (known === undefined) continue // a kind to come: not ours to probe
    if (where === undefined || more.length > 0) throw malformed('a candidate has no address')
    const endpoint = candidateEndpoint(where)
    if (endpoint) candidates.push({ kind: known, endpoint })
  }
  return candidates
}

/** Nobody can be met at a multicast or unspecified address, or at port 0: such a candidate is left out. */
function candidateEndpoint(where: string): Endpoint | undefined {
  try {
    const endpoint = parseEndpoint(where)
    return endpoint.port === 0 || scopeOf(endpoint.address) === 'unusable' ? undefined : endpoint
  } catch (cause) {
    throw new PlexusError('MALFORMED', 'A message was dropped: a candidate is not an address.', { cause })
  }
}

function refusalCode(value: unknown): RefusalCode {
  return REFUSAL_CODES.find((code) => code === value) ?? 'REFUSED'
}

function abortCode(value: unknown): string {
  const code = text(value, 'code', 32)
  if (!/^[A-Z][A-Z_]*$/.test(code)) throw malformed('its code is invalid')
  return code
}

/** A sentence from the peer for the log and the terminal: control characters cannot get there. */
function sentence(value: unknown): string {
  return text(value, 'sentence', 500).replace(/\p{C}/gu, ' ')
}

function identity(value: unknown): IdentityName {
  try {
    return parseIdentity(text(value, 'identity', 600))
  } catch (cause) {
    throw new PlexusError('MALFORMED', 'A message was dropped: it names no valid identity.', { cause })
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed(`${what} is not an object`)
  return value as Record<string, unknown>
}

function text(value: unknown, what: string, longest: number): string {
  if (typeof value !== 'string' || value.length > longest)
    throw malformed(`${what} is not text, or is too long`)
  return value
}

function hex(value: unknown, what: string, length: number): string {
  const found = text(value, what, length * 2)
  if (found.length !== length * 2 || !/^[0-9a-f]*$/.test(found))
    throw malformed(`${what} is not ${length} bytes in hex`)
  return found
}

function bytes(value: unknown, what: string, length: number): Buffer {
  const found = Buffer.from(text(value, what, length * 2), 'base64')
  if (found.length !== length || found.toString('base64') !== value)
    throw malformed(`${what} is not ${length} bytes in base64`)
  return found
}

function milliseconds(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw malformed(`${what} is not a time`)
  return value
}

function malformed(why: string): PlexusError {
  return new PlexusError('MALFORMED', `A message was dropped: ${why}.`)
}
