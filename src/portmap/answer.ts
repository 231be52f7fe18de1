/** An answer over HTTP, as far as it can be made out. */
export interface HttpAnswer {
  readonly status: number
  readonly text: string
}

/**
 * - `complete`: nothing more is to come
 * - `perhaps`: it may be all, since a document has ended or the announced length is reached, but not both: routers count wrongly
 * - `more`: it has not ended
 */
export type Completeness = 'complete' | 'perhaps' | 'more'

/** The end of a description or of a SOAP answer. */
const DOCUMENT_END = /<\/\s*(?:[\w.-]{1,32}:)?(?:root|envelope|html)\s*>\s*$/i

/**
 * Reads what the web servers of routers send (RFC 9112, and what they make of it): lines may end in a bare LF, header lines
 * may be folded or have no colon, and a length may be wrong, for what counts is the document. An interim answer is skipped.
 * @param data everything that has come so far
 */
export function readAnswer(data: Buffer): { readonly answer: HttpAnswer | undefined; is: Completeness } {
  const text = data.toString('latin1')
  const end = /\r?\n[ \t]*\r?\n/.exec(text)
  if (!end) return { answer: undefined, is: 'more' }
  const [first = '', ...lines] = text.slice(0, end.index).replace(/^\s+/, '').split(/\r?\n/)
  const begin = end.index + end[0].length
  const status = Number(/^HTTP\/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)/i.exec(first)?.[1] ?? 0)
  if (status >= 100 && status < 200) return readAnswer(data.subarray(begin))
  const headers = headersOf(lines)
  if (/\bchunked\b/i.test(headers.get('transfer-encoding') ?? '')) {
    const { body, ended } = unchunked(data.subarray(begin))
    const is = ended ? 'complete' : isDocument(body) ? 'perhaps' : 'more'
    return { answer: { status, text: body.toString('utf8') }, is }
  }
  const body = data.subarray(begin)
  return { answer: { status, text: body.toString('utf8') }, is: completeness(body, headers) }
}

function completeness(body: Buffer, headers: ReadonlyMap<string, string>): Completeness {
  const length = /^\d{1,9}$/.exec(headers.get('content-length') ?? '')?.[0]
  const reached = length !== undefined && body.length >= Number(length)
  const ended = isDocument(body)
  if (reached && (ended || body.length === 0)) return 'complete'
  return reached || ended ? 'perhaps' : 'more'
}

function isDocument(body: Buffer): boolean {
  return DOCUMENT_END.test(body.subarray(-128).toString('latin1'))
}

/** Names in lower case. A line that begins with white space goes on with the one before (RFC 9112 section 5.2). */
function headersOf(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>()
  let last: string | undefined
  for (const line of lines) {
    if (/^[ \t]/.test(line)) {
      if (last !== undefined) headers.set(last, `${headers.get(last) ?? ''} ${line.trim()}`.trim())
      continue
    }
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    last = line.slice(0, colon).trim().toLowerCase()
    if (!headers.has(last)) headers.set(last, line.slice(colon + 1).trim())
  }
  return headers
}

/** RFC 9112 section 7.1. Where a chunk has no size the rest is taken as it is. */
function unchunked(data: Buffer): { readonly body: Buffer; readonly ended: boolean } {
  const parts: Buffer[] = []
  let rest = data
  for (;;) {
    const line = /^(?:\r?\n)?[ \t]*([0-9a-f]{1,6})[^\n]{0,256}\n/i.exec(
      rest.subarray(0, 300).toString('latin1'),
    )
    if (!line) {
      const bare = parts.length === 0 && rest.subarray(0, 1).toString() === '<'
      return { body: bare ? rest : Buffer.concat(parts), ended: false }
    }
    const size = Number.parseInt(line[1] ?? '', 16)
    if (size === 0) return { body: Buffer.concat(parts), ended: true }
    const begin = line[0].length
    parts.push(rest.subarray(begin, begin + size))
    if (rest.length < begin + size) return { body: Buffer.concat(parts), ended: false }
    rest = rest.subarray(begin + size)
  }
}
