import { addressParser } from 'postal-mime'
import { PlexusError } from '../errors/index.js'
import { checkIdentityName, type IdentityName, isIdentityName } from '../identity/index.js'
import { behindMarks, isAnswering, partsOf, subjectOf } from '../mail/index.js'
import {
  isType,
  readBase64,
  readEntity,
  readHeaders,
  readParts,
  toCrlf,
  toLf,
  writeEnveloped,
} from './mime.js'

/**
 * The mail around the sealed entity. A plexus 3.x peer searches for its headers literally: unquoted, unencoded,
 * unfolded, so they are written just so, and a name that cannot stand there is refused.
 */
export interface Plexus3Mail {
  readonly from: IdentityName
  readonly to: IdentityName
  /** The application id. */
  readonly app: string
  readonly kind: 'invite' | 'accept'
  /** The S/MIME entity, with its own headers. */
  readonly entity: string
}

/** RFC 5322, 2.1.1, less the name of the header: longer lines are folded or refused on the way. */
const MAX_LINE = 900
/** What a body may have: the entity and its two delimiters. */
const MAX_BODY = 131_072

/** `<pin> <<owner>>`, as it stands in From and To. @throws PlexusError IDENTITY_NAME, DIALECT */
export function formatAddress(name: IdentityName): string {
  checkIdentityName(name)
  return plain(`${name.pin} <${name.owner}>`, /^[^<>]+ <[^<>\s]+>$/)
}

/** Also where a server has quoted or encoded the pin (RFC 5322, RFC 2047). @returns nothing for what is none @throws never */
export function readAddress(text: string): IdentityName | undefined {
  if (text.length > MAX_LINE) return undefined
  const [, literal, owner] = /^([^<>]+?)\s*<([^<>\s]+)>$/.exec(text.trim()) ?? []
  if (literal === undefined || owner === undefined) return undefined
  const pin = /^"|=\?/.test(literal) ? (addressParser(text)[0]?.name ?? '') : literal
  const name = { owner, pin }
  return isIdentityName(name) ? name : undefined
}

/** `<app id> invite` or `<app id> accept`. @throws PlexusError DIALECT */
export function formatSubject(app: string, kind: Plexus3Mail['kind']): string {
  return plain(`${app} ${kind}`, /^\S(.*\S)? (invite|accept)$/)
}

/** Also behind the marks of gateways. @returns nothing for the subject of something else, and for what answers one */
export function readSubject(text: string, app: string): Plexus3Mail['kind'] | undefined {
  return behindMarks(text.trim(), (subject) =>
    (['invite', 'accept'] as const).find((kind) => subject === `${app} ${kind}`),
  )
}

/** Who wrote a mail, to whom and what for, as its header says. */
export type Plexus3Head = Pick<Plexus3Mail, 'from' | 'to' | 'kind'>

/**
 * The lines From, To and Subject of a header, in any order and among others.
 * @returns nothing for the mail of somebody else @throws never
 */
export function readHead(header: string, app: string): Plexus3Head | undefined {
  try {
    const headers = readHeaders(toLf(header).trimEnd())
    const from = readAddress(headers.get('from') ?? '')
    const to = readAddress(headers.get('to') ?? '')
    const kind = readSubject(headers.get('subject') ?? '', app) ?? readSubject(subjectOf(header) ?? '', app)
    return from && to && kind ? { from, to, kind } : undefined
  } catch {
    return undefined
  }
}

/** Everything that a MIME message consists of here, with CRLF. @throws PlexusError IDENTITY_NAME, DIALECT */
export function writeMail(mail: Plexus3Mail): string {
  return (
    `From: ${formatAddress(mail.from)}\r\n` +
    `To: ${formatAddress(mail.to)}\r\n` +
    `Subject: ${formatSubject(mail.app, mail.kind)}\r\n` +
    'MIME-Version: 1.0\r\n' +
    `Content-Type: multipart/mixed; boundary=${boundaryOf(mail.from)}\r\n\r\n` +
    writeBody(mail)
  )
}

/** The body alone: all that the peer fetches of a mail. */
export function writeBody({ from, entity }: Pick<Plexus3Mail, 'from' | 'entity'>): string {
  const delimiter = `--${boundaryOf(from)}`
  return toCrlf(`${delimiter}\n${entity}\n${delimiter}--\n`)
}

/**
 * The sealed entity in the body of a mail, with LF: as the peer does it, by the boundary that follows from the
 * owner's name, whatever the headers say.
 * @throws PlexusError MALFORMED
 */
export function readBody(body: string, from: IdentityName): string {
  if (body.length > MAX_BODY) {
    throw new PlexusError('MALFORMED', 'The mail is longer than any of a plexus 3.x peer.')
  }
  const [entity = ''] = readParts(toLf(body), boundaryOf(from), 1)
  return entity
}

/**
 * A whole mail apart, of which the octets were read as UTF-8: names stand in the headers as they are.
 * @param app the application id; the mail of another one is none
 * @throws PlexusError MALFORMED
 */
export function readMail(text: string, app: string): Plexus3Mail {
  if (text.length > 2 * MAX_BODY) {
    throw new PlexusError('MALFORMED', 'The mail is longer than any of a plexus 3.x peer.')
  }
  const { headers, body } = readEntity(toLf(text))
  const from = readAddress(headers.get('from') ?? '')
  const to = readAddress(headers.get('to') ?? '')
  const kind = readSubject(headers.get('subject') ?? '', app)
  if (!from || !to || !kind) throw new PlexusError('MALFORMED', 'The mail is not from a plexus 3.x peer.')
  return { from, to, app, kind, entity: readBody(body, from) }
}

/**
 * The sealed entity of a mail that may have been changed on its way, or the words of one that is not sealed; what was only given the
 * same outside, and what answers such a mail, has none.
 * @param letter `body` is what follows the header; `source` the whole mail, where it is known
 */
export async function findEntity(
  { body, source }: { readonly body: Uint8Array; readonly source?: Uint8Array },
  from: IdentityName,
): Promise<string | undefined> {
  if (source !== undefined && (await isAnswering(source))) return undefined
  const literal = literalEntity(Buffer.from(body).toString('latin1'), from)
  if (literal !== undefined || source === undefined) return literal
  const sealed = (await partsOf(source)).find(
    ({ type, name }) => /^application\/(?:x-)?pkcs7-mime$/.test(type) || /^smime\.p7m$/i.test(name ?? ''),
  )
  return sealed && sealed.content.length <= MAX_BODY ? writeEnveloped(oneValue(sealed.content)) : undefined
}

/** The one value of DER without what an encoding of text may have put behind it; what is none stays as it is. */
function oneValue(bytes: Buffer): Buffer {
  const first = bytes[1] ?? 0
  const octets = first & 0x7f
  if (bytes[0] !== 0x30 || first <= 0x80 || octets > 4 || bytes.length < 2 + octets) return bytes
  return bytes.subarray(0, 2 + octets + bytes.readUIntBE(2, octets))
}

/** In the one form that is written. */
function literalEntity(body: string, from: IdentityName): string | undefined {
  try {
    const part = readBody(body, from)
    if (readPlain(part) !== undefined) return part
    const entity = readEntity(part)
    readBase64(entity.body)
    return isType(entity, /^application\/(?:x-)?pkcs7-mime\b/i) ? part : undefined
  } catch {
    return undefined
  }
}

/**
 * The message in a part that is not sealed, as a peer writes it that misses a certificate: nobody has signed it.
 * @returns nothing for a part that is something else @throws never
 */
export function readPlain(part: string): string | undefined {
  const text = toLf(part).trim()
  if (text.startsWith('PLEXUS ')) return text
  try {
    const entity = readEntity(toLf(part))
    const plain = isType(entity, /^text\/plain\b/i) ? entity.body.trim() : ''
    return plain.startsWith('PLEXUS ') ? plain : undefined
  } catch {
    return undefined
  }
}

/** `----` and the octets of the owner's name in lower-case hexadecimal. */
function boundaryOf(name: IdentityName): string {
  return `----${Buffer.from(name.owner).toString('hex')}`
}

/** What can stand in a header as it is. */
function plain(text: string, form: RegExp): string {
  if (form.test(text) && /^[^\p{Cc}]+$/u.test(text) && Buffer.byteLength(text) <= MAX_LINE) return text
  throw new PlexusError('DIALECT', `${JSON.stringify(text)} cannot be used in mail to a plexus 3.x peer.`, {
    advice: 'Use an identity and an --app-id without angle brackets, line ends and spaces at the ends.',
  })
}
