import { asPlexusError, PlexusError } from '../errors/index.js'
import { deadline } from '../net/index.js'
import { deriveKeys, ephemeral } from '../sealing/index.js'
import type { PairingContext } from './context.js'
import { Correspondence, type Opened, type Sealed, sessionMailbox } from './correspondence.js'
import { type Gathering, gather, keepMapped } from './gathering.js'
import type { Abort, Answer, Invite, Update } from './message.js'
import type { Passage } from './passage.js'
import { type PeerNews, pass } from './passing.js'

/** What an accepter allows beyond the rendezvous's latency before it shows itself with full TTL, in ms. */
const PATIENCE_MARGIN = 1000

/** How long a side that gives up goes on trying to say so through the rendezvous, in ms. */
export const FAREWELL = 5000

/**
 * How much longer than `--timeout` a session may live, in ms. The punch ends by itself: an accepter that has confirmed
 * a path waits some seconds longer than its inviter may, so that both end alike.
 */
const BACKSTOP = 10_000

export interface AnsweringOptions {
  readonly news: PeerNews
  readonly signal: AbortSignal
  /** A port that is open already, when an inviter turns accepter; it stays open on failure. */
  readonly gathering?: Gathering
  /** Is given the answer once it is made: one session has one answer. */
  readonly onAnswer?: (answer: Sealed) => void
}

/**
 * The accepter's part of one session whose invite has been verified: gather, answer, punch.
 * On failure the inviter is told, as far as it can be reached, and a port that was opened here is closed.
 * @throws PlexusError, or the signal's reason
 */
export async function answer(
  context: PairingContext,
  { message: invite, content, certificate }: Opened<Invite>,
  options: AnsweringOptions,
): Promise<Passage> {
  const { clock, log } = context
  const mail = new Correspondence(context)
  const mailbox = sessionMailbox(context.app, invite.from, invite.reply)
  const until = clock.now() + context.timeout
  const limit = deadline(clock, context.timeout + BACKSTOP, options.signal)
  const posts = new AbortController()
  const { signal } = limit
  const gathering =
    options.gathering ??
    (await gather(context, signal).catch((thrown: unknown) => {
      limit.dispose()
      throw thrown
    }))
  try {
    const own = ephemeral()
    const reply: Answer = {
      ...mail.header(invite.from, invite.session),
      kind: 'answer',
      offer: { key: own.publicKey, candidates: gathering.candidates, mapping: gathering.mapping, can: [] },
    }
    const sealed = await mail.seal(reply, certificate)
    const keys = deriveKeys(own.privateKey, invite.offer.key, content, sealed.content)
    options.onAnswer?.(sealed)
    const posted = clock.now()
    mail
      .post(mailbox, sealed.sealed, reply, posts.signal)
      .then(() => log.info({}, `answer posted in ${Math.round(clock.now() - posted)} ms`))
      .catch((thrown: unknown) => {
        if (!posts.signal.aborted) limit.abort(asPlexusError(thrown, 'RENDEZVOUS_UNREACHABLE'))
      })
    keepMapped(context, gathering, posts.signal, (candidate) => {
      const update: Update = {
        ...mail.header(invite.from, invite.session),
        kind: 'update',
        candidates: [candidate],
      }
      void mail
        .seal(update, certificate)
        .then((made) => mail.post(mailbox, made.sealed, update, posts.signal))
        .catch((thrown: unknown) => log.debug({ err: thrown }, 'the update could not be posted'))
    })
    return await pass(context, {
      role: 'accepter',
      session: invite.session,
      peer: invite.from,
      keys,
      gathering,
      remote: invite.offer.candidates,
      patience: context.rendezvous.latency + PATIENCE_MARGIN,
      timeout: Math.max(1, until - clock.now()),
      news: options.news,
      signal,
    })
  } catch (thrown) {
    if (options.gathering === undefined) await gathering.port.close()
    const error = asPlexusError(thrown)
    if (error.code !== 'PEER_ABORTED') void farewell(context, { message: invite, certificate }, error)
    throw error
  } finally {
    posts.abort(new PlexusError('CANCELLED', 'The session is over.'))
    limit.dispose()
  }
}

/** Tells the inviter that this side has given up. */
async function farewell(
  context: PairingContext,
  invite: Pick<Opened<Invite>, 'message' | 'certificate'>,
  error: PlexusError,
): Promise<void> {
  const mail = new Correspondence(context)
  const { from, session, reply } = invite.message
  const limit = deadline(context.clock, FAREWELL)
  try {
    const abort: Abort = { ...mail.header(from, session), kind: 'abort', sentence: error.message }
    const { sealed } = await mail.seal(abort, invite.certificate)
    await mail.post(sessionMailbox(context.app, from, reply), sealed, abort, limit.signal)
  } catch (thrown) {
    context.log.debug({ err: thrown }, 'the peer could not be told that the pairing failed')
  } finally {
    limit.dispose()
  }
}
