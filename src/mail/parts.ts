import PostalMime, { type Email } from 'postal-mime'

/** A part of a mail that is more than its text. */
export interface Part {
  /** Its name, if it has one. */
  readonly name: string | undefined
  /** Its MIME type in lower case. */
  readonly type: string
  /** Decoded. */
  readonly content: Buffer
  /** The Message-ID of the mail that it lies in, with its brackets: of the one inside where one is wrapped in another. */
  readonly id: string | undefined
}

/** How deep a mail may be wrapped in others. */
const DEPTH = 4
/** The most parts that are looked at. */
const MOST = 64
const LIMITS = { maxNestingDepth: 16, maxHeadersSize: 65_536, forceRfc822Attachments: true } as const

/**
 * The parts of a mail, however it was changed on its way: wrapped, encoded anew, with a footer. The answer of a person or of a
 * machine, something passed on by hand, and a report of what could not be delivered have none: what they carry along is not
 * what they are.
 * @throws never
 */
export async function partsOf(source: Uint8Array): Promise<readonly Part[]> {
  const parts: Part[] = []
  await collect(Buffer.from(source), DEPTH, parts)
  return parts
}

/** Whether a mail answers another, passes one on, or reports on one. @throws never */
export async function isAnswering(source: Uint8Array): Promise<boolean> {
  const text = Buffer.from(source)
  const end = /\r?\n\r?\n/.exec(text.toString('latin1'))?.index ?? text.length
  const email = await PostalMime.parse(text.subarray(0, end), LIMITS).catch(() => undefined)
  return email !== undefined && isAnswer(email)
}

async function collect(source: Buffer, depth: number, parts: Part[]): Promise<void> {
  const email = await PostalMime.parse(withoutFooter(source), LIMITS).catch(() => undefined)
  if (email === undefined || isAnswer(email)) return
  for (const { filename, mimeType, content } of email.attachments) {
    if (parts.length >= MOST) return
    const bytes = typeof content === 'string' ? Buffer.from(content) : Buffer.from(new Uint8Array(content))
    if (mimeType === 'message/rfc822' || mimeType === 'message/global') {
      if (depth > 0) await collect(bytes, depth - 1, parts)
    } else {
      parts.push({ name: filename ?? undefined, type: mimeType, content: bytes, id: email.messageId })
    }
  }
}

/** RFC 5322, 3.6.4 and RFC 3834, 5; RFC 6522 for reports. What programs write by themselves answers nothing. */
function isAnswer(email: Email): boolean {
  if (email.inReplyTo !== undefined || email.references !== undefined) return true
  const field = (name: string) => email.headers.find(({ key }) => key === name)?.value ?? ''
  return (
    /^\s*auto-(?:replied|notified)\b/i.test(field('auto-submitted')) ||
    /^\s*multipart\/report\b/i.test(field('content-type')) ||
    field('x-forwarded-message-id') !== ''
  )
}

/**
 * Some gateways write their footer behind whatever the body is. In base64 its letters would be taken for more of the content:
 * this ends with the first line that is shorter than those before it, or is none.
 */
function withoutFooter(source: Buffer): Buffer {
  const text = source.toString('latin1')
  const gap = /\r?\n\r?\n/.exec(text)
  if (!gap) return source
  const header = text.slice(0, gap.index).replace(/\r?\n(?=[ \t])/g, '')
  if (!/^content-transfer-encoding[ \t]*:[ \t]*base64\b/im.test(header)) return source
  if (/^content-type[ \t]*:[ \t]*multipart\//im.test(header)) return source
  const from = gap.index + gap[0].length
  let [end, width] = [from, 0]
  for (const line of text.slice(from).matchAll(/[^\n]*(?:\n|$)/g)) {
    const digits = line[0].trim()
    if (digits === '' && width === 0) continue
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(digits)) break
    end = from + line.index + line[0].length
    if (digits.length < width || digits.endsWith('=')) break
    width = digits.length
  }
  return source.subarray(0, end)
}
