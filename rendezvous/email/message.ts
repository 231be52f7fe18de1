import { createHash } from 'node:crypto'
import { PlexusError } from '../../src/errors/index.js'

/**
 * A sealed message as a mail. Its subject tells all that has to be known to let it lie: `plexus <mailbox> <expires>`,
 * 32 hex digits that only those can compute who hold the receiver's certificate or the session's seed, and ms since
 * 1970. Its body is an attachment: the sealed octets in base64.
 */
const SUBJECT = /\bplexus ([0-9a-f]{32}) (\d{13})\b/
/** An address that needs no quoting and no SMTPUTF8: what every server takes (RFC 5321, dot-string). */
const ADDRESS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9.-]{1,255}$/
/** Octets of base64 in a line (RFC 2045). */
const LINE = 76
/** How deep a gateway may have wrapped what we wrote, in multiparts. */
const DEPTH = 4

/** What the subject of one of our mails says. */
export interface Label {
  readonly mailbox: string
  /** ms since 1970-01-01 UTC. */
  readonly expires: number
}

/** A mail to be handed in. */
export interface Mail {
  readonly from: string
  readonly to: string
  readonly text: string
}

/** The label of a mail by its header, if it is one of ours, whoever put something before it. */
export function labelOf(header: string): Label | undefined {
  const subject = /^subject:((?:.*(?:\r?\n[ \t].*)*))/im.exec(header)?.[1]?.replace(/\r?\n[ \t]+/g, ' ')
  const [, mailbox, expires] = SUBJECT.exec(subject ?? '') ?? []
  return mailbox && expires ? { mailbox, expires: Number(expires) } : undefined
}

/** Writes a mail. The same message gives the same Message-ID, so that a server may drop what is sent twice. */
export function writeMail(
  { mailbox, expires }: Label,
  sealed: Uint8Array,
  { from, to, date }: { from: string; to: string; date: number },
): Mail {
  const subject = `plexus ${mailbox} ${String(Math.floor(expires)).padStart(13, '0')}`
  const id = createHash('sha256').update(subject).update(sealed).digest('hex').slice(0, 32)
  const body = Buffer.from(sealed)
    .toString('base64')
    .replace(new RegExp(`.{${LINE}}`, 'g'), '$&\r\n')
  const lines = [
    `From: <${from}>`,
    `To: <${to}>`,
    `Subject: ${subject}`,
    `Date: ${new Date(date).toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${id}@${from.slice(from.lastIndexOf('@') + 1)}>`,
    'Auto-Submitted: auto-generated', // RFC 3834: nobody's holiday notice answers it
    'MIME-Version: 1.0',
    'Content-Type: application/octet-stream; name="message.plexus"',
    'Content-Disposition: attachment; filename="message.plexus"',
    'Content-Transfer-Encoding: base64',
    '',
    body,
    '',
  ]
  return { from, to, text: lines.join('\r\n') }
}

/** The sealed octets of a mail of ours, also if a gateway has made it a part of another; undefined if there are none. */
export function readMail(source: string, depth = DEPTH): Buffer | undefined {
  const end = /\r?\n\r?\n/.exec(source)
  if (!end) return undefined
  const header = source.slice(0, end.index).replace(/\r?\n[ \t]+/g, ' ')
  const body = source.slice(end.index + end[0].length)
  const field = (name: string) => new RegExp(`^${name}:(.*)$`, 'im').exec(header)?.[1]?.trim() ?? ''
  const type = field('content-type')
  if (/^multipart\//i.test(type)) {
    const boundary = /boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(type)?.slice(1).find(Boolean)
    if (boundary === undefined || depth === 0) return undefined
    for (const part of body.split(`--${boundary}`).slice(1)) {
      const found = readMail(part.replace(/^[ \t]*\r?\n/, '\n'), depth - 1)
      if (found) return found
    }
    return undefined
  }
  if (!/\bmessage\.plexus\b/.test(`${type} ${field('content-disposition')}`)) return undefined
  if (!/^base64$/i.test(field('content-transfer-encoding'))) return undefined
  const sealed = Buffer.from(body.replace(/\s+/g, ''), 'base64')
  return sealed.length > 0 ? sealed : undefined
}

/** The address of an identity: its owner. @throws PlexusError RENDEZVOUS_FOREIGN if that is none */
export function addressOf(identity: string): string {
  const owner = identity.slice(0, identity.lastIndexOf('/'))
  if (ADDRESS.test(owner)) return owner
  throw new PlexusError(
    'RENDEZVOUS_FOREIGN',
    `${identity} cannot be reached by email: '${owner}' is no address.`,
    {
      advice: 'Name identities by addresses, or give both sides one address as in email:box@example.com.',
    },
  )
}

/** Whether it is an address that mail can be sent to. */
export function isAddress(text: string): boolean {
  return ADDRESS.test(text)
}
