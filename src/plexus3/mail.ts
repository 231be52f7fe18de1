import { PlexusError } from '../errors/index.js'
import { checkIdentityName, type IdentityName, isIdentityName } from '../identity/index.js'
import { isType, readEntity, readHeaders, readParts, toCrlf, toLf } from './mime.js'

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

/** @returns nothing for what is none @throws never */
export function readAddress(text: string): IdentityName | undefined {
  if (text.length > MAX_LINE) return undefined
  const [, pin, owner] = /^([^<>]+) <([^<>\s]+)>$/.exec(text.trim()) ?? []
  if (pin === undefined || owner === undefined) return undefined
  const name = { owner, pin }
  return isIdentityName(name) ? name : undefined
}

/** `<app id> invite` or `<app id> accept`. @throws PlexusError DIALECT */
export function formatSubject(app: string, kind: Plexus3Mail['kind']): string {
  return plain(`${app} ${kind}`, /^\S(.*\S)? (invite|accept)$/)
}

/** @returns nothing for the subject of something else */
export function readSubject(text: string, app: string): Plexus3Mail['kind'] | undefined {
  const subject = text.trim()
  return (['invite', 'accept'] as const).find((kind) => subject === `${app} ${kind}`)
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
    const kind = readSubject(headers.get('subject') ?? '', app)
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
  if (!from || !to || !kind) throw new PlexusError('MALFORMED', 'The mail is none of a plexus 3.x peer.')
  return { from, to, app, kind, entity: readBody(body, from) }
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
  throw new PlexusError('DIALECT', `${JSON.stringify(text)} cannot stand in the mail of a plexus 3.x peer.`, {
    advice: 'Use an identity and an --app-id without angle brackets, line ends and spaces at the ends.',
  })
}
