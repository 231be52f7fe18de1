import type { Envelope, Mailbox } from '../interface.js'
import { mailboxName, messageName } from '../mailbox.js'

/** The environment of a process, as node takes it. */
export type Variables = Readonly<Record<string, string | undefined>>

/** Flags of plexus given as variables may hold passwords: they are its own. */
const OWN_FLAGS = /^PLEXUS_OPT_/

/** What a command finds in its environment when it receives: what plexus found in its own, and the mailbox. */
export function receiveVariables(inherited: Variables, mailbox: Mailbox): Variables {
  return {
    ...Object.fromEntries(Object.entries(inherited).filter(([name]) => !OWN_FLAGS.test(name))),
    PLEXUS_MAILBOX: mailboxName(mailbox),
    PLEXUS_MAILBOX_KIND: mailbox.kind,
    PLEXUS_TO: mailbox.identity,
    PLEXUS_APP: mailbox.app,
    // only a post has these; what was inherited of that name is another's
    PLEXUS_FROM: undefined,
    PLEXUS_SESSION: undefined,
    PLEXUS_MESSAGE: undefined,
    PLEXUS_EXPIRES: undefined,
  }
}

/** What it finds when it posts: the same, and what is on the outside of the message. */
export function postVariables(inherited: Variables, envelope: Envelope, sealed: Uint8Array): Variables {
  return {
    ...receiveVariables(inherited, envelope.to),
    PLEXUS_FROM: envelope.from,
    PLEXUS_SESSION: Buffer.from(envelope.session).toString('hex'),
    PLEXUS_MESSAGE: messageName(sealed),
    PLEXUS_EXPIRES: String(Math.floor(envelope.expires / 1000)), // seconds, as date +%s has them
  }
}
