import { der } from '../identity/index.js'

/** As much of MIME (RFC 2045, 2046, 1847) as the mails of a plexus 3.x peer consist of. */
export interface Entity {
  /** By names in lower case; of a header that comes twice, the first. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

const WHAT = 'The mail of the plexus 3.x peer'

/** RFC 2046, 5.1.1: one to 70 of these. The one that is used here has 36. */
const BOUNDARY = /;\s*boundary=("?)([A-Za-z0-9'()+_,./:=?-]{1,70})\1\s*(?:;|$)/i

/** What is on the wire has CRLF; each layer is read, as the peer reads it, with LF. */
export function toLf(text: string): string {
  return text.replaceAll('\r\n', '\n')
}

export function toCrlf(text: string): string {
  return toLf(text).replaceAll('\n', '\r\n')
}

/** Headers, an empty line, a body; line ends are LF. @throws PlexusError MALFORMED */
export function readEntity(text: string): Entity {
  // what was enveloped may begin with an empty line, as what was in a part does
  const from = text.search(/[^\n]/)
  const end = from < 0 ? -1 : text.indexOf('\n\n', from)
  if (end < 0) throw der.malformed(WHAT)
  return { headers: readHeaders(text.slice(from, end)), body: text.slice(end + 2) }
}

/** Headers without the empty line; one that is folded counts as one line. @throws PlexusError MALFORMED */
export function readHeaders(text: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const line of text.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const colon = line.indexOf(':')
    if (colon < 1) throw der.malformed(WHAT)
    const name = line.slice(0, colon).toLowerCase()
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1).trim())
  }
  return headers
}

/** Whether the entity is of that type, with that parameter if one is given. */
export function isType(entity: Entity, type: RegExp): boolean {
  return type.test(entity.headers.get('content-type') ?? '')
}

export function boundaryOf(entity: Entity): string {
  const boundary = BOUNDARY.exec(entity.headers.get('content-type') ?? '')?.[2]
  if (boundary === undefined) throw der.malformed(WHAT)
  return boundary
}

/**
 * The parts of a multipart body: from one delimiter line to the next, without the line end before the latter.
 * @throws PlexusError MALFORMED unless there are as many as that, and a closing delimiter
 */
export function readParts(body: string, boundary: string, count: number): string[] {
  const parts: string[][] = []
  let closed = false
  for (const line of body.split('\n')) {
    const mark = line.trimEnd()
    if (closed) break
    if (mark === `--${boundary}--`) closed = true
    else if (mark === `--${boundary}`) parts.push([])
    else parts.at(-1)?.push(line)
  }
  if (!closed || parts.length !== count) throw der.malformed(WHAT)
  return parts.map((lines) => lines.join('\n'))
}

/** Lines of 64 characters, as openssl writes them, each with its LF. */
export function writeBase64(bytes: Uint8Array): string {
  return (
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  )
    .map((line) => `${line}\n`)
    .join('')
}

/** @throws PlexusError MALFORMED */
export function readBase64(text: string): Buffer {
  const digits = text.replace(/[\n \t]/g, '')
  if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(digits)) throw der.malformed(WHAT)
  return Buffer.from(digits, 'base64')
}

/** What was enveloped, as an entity with its own headers; line ends are LF. */
export function writeEnveloped(der: Uint8Array): string {
  return (
    'MIME-Version: 1.0\n' +
    'Content-Disposition: attachment; filename="smime.p7m"\n' +
    'Content-Type: application/x-pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\n' +
    'Content-Transfer-Encoding: base64\n\n' +
    `${writeBase64(der)}\n`
  )
}
