import { createHash } from 'node:crypto'
import { PlexusError } from '../../src/errors/index.js'
import { behindMarks, type Part, partsOf, subjectOf } from '../../src/mail/index.js'

/**
 * A sealed message as a mail. Its subject tells all that has to be known to let it lie: `plexus <mailbox> <expires>`,
 * 32 hex digits that only those can compute who hold the receiver's certificate or the session's seed, and ms since
 * 1970. Its body is an attachment: the sealed octets in base64.
 */
const SUBJECT = /^plexus ([0-9a-f]{32}) (\d{13})$/
/** The name of that attachment; some gateways add an ending of theirs. */
const ATTACHMENT = 'message.plexus'
const NAMED = /^message[._]plexus(?:\.[a-z0-9]{1,8})?$/i
/** An address that needs no quoting and no SMTPUTF8: what every server takes (RFC 5321, dot-string). */
const ADDRESS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9.-]{1,255}$/
/** Octets of base64 in a line (RFC 2045). */
const LINE = 76
/** Lines of a footer that a gateway may have written behind the attachment, in the same part. */
const FOOTER = 64

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

/**
 * The label of a mail by its header, if it may be one of ours, whatever a gateway has put around it. The answer of a person that
 * quotes our subject is none. Whether it is ours its structure says: `readMail`.
 */
export function labelOf(header: string): Label | undefined {
  return behindMarks(subjectOf(header) ?? '', (text) => {
    const [, mailbox, expires] = SUBJECT.exec(text) ?? []
    return mailbox && expires ? { mailbox, expires: Number(expires) } : undefined
  })
}

/** Writes a mail. The same message gives the same Message-ID, so that a server may drop what is sent twice. */
export function writeMail(
  { mailbox, expires }: Label,
  sealed: Uint8Array,
  { from, to, date }: { from: string; to: string; date: number },
): Mail {
  const subject = formatSubject({ mailbox, expires })
  const id = idOf(subject, sealed)
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
    `Content-Type: application/octet-stream; name="${ATTACHMENT}"`,
    `Content-Disposition: attachment; filename="${ATTACHMENT}"`,
    'Content-Transfer-Encoding: base64',
    '',
    body,
    '',
  ]
  return { from, to, text: lines.join('\r\n') }
}

/**
 * The sealed octets of a mail of ours, also if a gateway has wrapped it or written it anew; undefined if it is none of ours,
 * whatever its subject says.
 * @param source the whole mail
 */
export async function readMail(source: Uint8Array, label: Label): Promise<Buffer | undefined> {
  const subject = formatSubject(label)
  let named: Buffer | undefined
  for (const part of await partsOf(source)) {
    const proven = provenIn(part, subject)
    if (proven) return proven
    if (part.name !== undefined && NAMED.test(part.name.trim()) && part.content.length > 0)
      named ??= part.content
  }
  return named
}

/** What the Message-ID says that we have put in, whatever the part is called now and whatever was written behind it. */
function provenIn({ id = '', content }: Part, subject: string): Buffer | undefined {
  const ours = /^<([0-9a-f]{32})@/.exec(id.trim())?.[1]
  if (ours === undefined) return undefined
  const is = (end: number) => idOf(subject, content.subarray(0, end)) === ours
  if (is(content.length)) return content
  for (let [end, line] = [content.length, 0]; line < FOOTER; line++) {
    end = content.lastIndexOf(0x0a, end - 1) // where a line ends; there may be a CR before it
    if (end <= 0) return undefined
    const cut = [end, end - 1].find(is)
    if (cut !== undefined) return content.subarray(0, cut)
  }
  return undefined
}

function formatSubject({ mailbox, expires }: Label): string {
  return `plexus ${mailbox} ${String(Math.floor(expires)).padStart(13, '0')}`
}

/** The same message has the same id. */
function idOf(subject: string, sealed: Uint8Array): string {
  return createHash('sha256').update(subject).update(sealed).digest('hex').slice(0, 32)
}

/** The address of an identity: its owner. @throws PlexusError RENDEZVOUS_FOREIGN if that is none */
export function addressOf(identity: string): string {
  const owner = identity.slice(0, identity.lastIndexOf('/'))
  if (ADDRESS.test(owner)) return owner
  throw new PlexusError(
    'RENDEZVOUS_FOREIGN',
    `${identity} cannot be reached by email: '${owner}' is not an email address.`,
    {
      advice:
        'Use identities whose owners are email addresses, or one mailbox for both sides, as in email:box@example.com.',
    },
  )
}

/** Whether it is an address that mail can be sent to. */
export function isAddress(text: string): boolean {
  return ADDRESS.test(text)
}
