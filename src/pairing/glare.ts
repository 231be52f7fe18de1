import { createHash } from 'node:crypto'
import type { Mailbox } from '../../rendezvous/interface.js'
import type { Certificate, Host, IdentityName } from '../identity/index.js'
import { type Logger, sleep } from '../net/index.js'
import { answer } from './answering.js'
import { type PairingContext, shortSession, stretchedTimeout } from './context.js'
import { type Correspondence, type Mailing, type Opened, sessionMailbox } from './correspondence.js'
import type { Gathering } from './gathering.js'
import type { Invite } from './message.js'
import type { Passage } from './passage.js'
import { PeerNews } from './peer-news.js'

/**
 * When an inviter begins to look whether the peer is inviting it, in ms after its invite was posted: an accepter
 * that is there has answered by then, and the common case pays nothing.
 */
const GLARE_AFTER = 2000

/** How many of the peer's own invites are answered at a time: all but one are of attempts that have ended. */
const MAX_GLARE = 4

export interface GlareOptions {
  /** The session of this side's invite. */
  readonly session: string
  readonly peer: IdentityName
  readonly gathering: Gathering
  readonly mail: Correspondence
  /** The log before it names a session: glare gives the session another id. */
  readonly log: Logger
  /** Aborts when this side's invite has been answered, or is over. */
  readonly signal: AbortSignal
  /** Takes what comes to one more mailbox. */
  readonly listen: (mailbox: Mailbox) => void
  /** The peer's invite was answered, and came to something. */
  readonly onPassage: (passage: Passage) => void
}

/**
 * Two that invite each other at the same time, where neither waits for invites. The lower session id stays the inviter, and
 * the other side answers it.
 *
 * Its calls: `watch` once the invite is posted; `take` whenever an invite of the peer is found.
 */
export class Glare {
  readonly #context: PairingContext
  readonly #options: GlareOptions
  /** The peer's own sessions that this side is answering. */
  readonly #answering = new Set<string>()

  constructor(context: PairingContext, options: GlareOptions) {
    this.#context = context
    this.#options = options
  }

  /**
   * Answers the peer's invite where this side has the higher session id, while its own invite stands: what was found may
   * be of an attempt that has ended, and then nothing comes of the answer.
   */
  take(opened: Opened<Invite>): void {
    const { message } = opened
    const { session, gathering, signal } = this.#options
    if (message.session >= session || this.#answering.has(message.session)) return
    if (this.#answering.size >= MAX_GLARE) return
    const { clock } = this.#context
    if (Math.abs(clock.date() - message.time) > stretchedTimeout(this.#context)) return
    this.#answering.add(message.session)
    const log = this.#options.log.child({ session: shortSession(message.session) })
    log.info({ own: shortSession(session) }, 'the peer is inviting this side: answering it')
    answer({ ...this.#context, host: opened.host, log }, opened, { gathering, news: new PeerNews(), signal })
      .then((passage) => this.#options.onPassage(passage))
      .catch((thrown: unknown) => log.debug({ err: thrown }, 'answering the peer failed'))
  }

  /** Looks for an invite of the peer's after a while, and lets its own be found. Never rejects. */
  async watch(message: Invite, made: Mailing): Promise<void> {
    const { clock, app, host, log } = this.#context
    const { peer, mail, signal, listen } = this.#options
    try {
      await sleep(clock, GLARE_AFTER, signal)
      // one of each, but for a rollover: then the two sides need not agree on which is the current one
      const own = ownCertificates(host)
      const posts = made.copies.flatMap(({ to, sealed }) =>
        own.map((certificate) => {
          listen(glareMailbox(app, host.name, certificate, to))
          const mailbox = glareMailbox(app, peer, to, certificate)
          return mail.post(mailbox, sealed, message, signal)
        }),
      )
      await Promise.all(posts)
    } catch (thrown) {
      if (!signal.aborted) log.debug({ err: thrown }, 'could not check whether both sides invite each other')
    }
  }
}

/** The certificates of this side that a peer may know: two during a rollover. */
export function ownCertificates({ certificate, next }: Host): Certificate[] {
  return next ? [certificate, next.certificate] : [certificate]
}

/** The mailbox in which `name`, with the certificate `to`, finds what `from` invites it to while it invites itself. */
export function glareMailbox(app: string, name: IdentityName, to: Certificate, from: Certificate): Mailbox {
  return sessionMailbox(app, name, pairSeed(app, to, from))
}

/** The seed of the mailbox in which `to` finds what `from` invites it to: both can tell it from the certificates. */
function pairSeed(app: string, to: Certificate, from: Certificate): Buffer {
  return createHash('sha256')
    .update('plexus 4 glare\0')
    .update(to.fingerprint)
    .update(from.fingerprint)
    .update(app)
    .digest()
}
