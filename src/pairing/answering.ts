import type { Mailbox } from '../../rendezvous/interface.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { broadController, deadline, scopeOf } from '../net/index.js'
import type { Candidate } from '../punch/index.js'
import { answerShare } from './agreement.js'
import type { PairingContext } from './context.js'
import { Correspondence, type Opened, type Sealed, sessionMailbox } from './correspondence.js'
import { type Addressee, isFromPeer, sayFarewell } from './farewell.js'
import { type Gathering, gather, keepMapped, onMapped, onSymmetric } from './gathering.js'
import type { Answer, Invite, Update } from './message.js'
import type { Passage } from './passage.js'
import { pass } from './passing.js'
import type { PeerNews } from './peer-news.js'
import { abilities } from './prospects.js'

/** What an accepter allows beyond the rendezvous's latency before it shows itself with full TTL, in ms. */
const PATIENCE_MARGIN = 1000

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
  /** Is called when the first authentic datagram of the inviter has come. */
  readonly onHeard?: () => void
}

/** Who waits for what becomes of an invite, and where. */
export function inviterOf(
  app: string,
  { message, certificate }: Opened<Invite>,
): Addressee & { mailbox: Mailbox } {
  const { from, reply, session } = message
  return { peer: from, certificates: [certificate], mailbox: sessionMailbox(app, from, reply), session }
}

/**
 * The accepter's part of one session whose invite has been verified: gather, answer, punch.
 * On failure the inviter is told, as far as it can be reached, and a port that was opened here is closed.
 * @throws PlexusError, or the signal's reason
 */
export async function answer(
  context: PairingContext,
  opened: Opened<Invite>,
  options: AnsweringOptions,
): Promise<Passage> {
  const { clock, log } = context
  const { message: invite, content, certificate } = opened
  const mail = new Correspondence(context)
  const { mailbox } = inviterOf(context.app, opened)
  const until = clock.now() + context.timeout
  // looked at before anything else has come
  const latency = context.rendezvous.returning ?? context.rendezvous.latency
  const limit = deadline(clock, context.timeout + BACKSTOP, options.signal)
  const posts = broadController()
  const { signal } = limit
  // its requests are on their way first: STUN's answers and the keys take a while side by side
  const gathered = options.gathering ?? gather(context, signal)
  const drawing = answerShare(context, invite.offer)
  drawing.catch(() => {}) // it is told below
  const gathering = await Promise.resolve(gathered).catch((thrown: unknown) => {
    limit.dispose()
    giveUp(context, opened, asPlexusError(thrown))
    throw thrown
  })
  try {
    refuseIsland(gathering, invite.offer.candidates)
    const own = await drawing
    const { can, ...share } = own.share
    const reply: Answer = {
      ...mail.header(invite.from, invite.session),
      kind: 'answer',
      offer: {
        ...share,
        candidates: gathering.candidates,
        nat: gathering.nat,
        can: [...abilities(context), ...can],
      },
    }
    const sealed = await mail.seal(reply, certificate)
    const keys = own.keys(content, sealed.content)
    options.onAnswer?.(sealed)
    const posted = clock.now()
    mail
      .post(mailbox, sealed.sealed, reply, posts.signal)
      .then(() => log.info({}, `answer posted in ${Math.round(clock.now() - posted)} ms`))
      .catch((thrown: unknown) => {
        if (!posts.signal.aborted) limit.abort(asPlexusError(thrown, 'RENDEZVOUS_UNREACHABLE'))
      })
    const sendUpdate = (candidates: Update['candidates']) => {
      const update: Update = {
        ...mail.header(invite.from, invite.session),
        kind: 'update',
        candidates,
        nat: gathering.nat,
      }
      void mail
        .seal(update, certificate)
        .then((made) => mail.post(mailbox, made.sealed, update, posts.signal))
        .catch((thrown: unknown) => {
          if (!posts.signal.aborted) log.debug({ err: thrown }, 'the update could not be posted')
        })
    }
    keepMapped(context, gathering, posts.signal, (candidate) => sendUpdate([candidate]))
    onMapped(gathering, posts.signal, (candidate) => sendUpdate([candidate]))
    onSymmetric(gathering, reply.offer.nat, posts.signal, () => sendUpdate([]))
    return await pass(context, {
      role: 'accepter',
      session: invite.session,
      peer: invite.from,
      fingerprint: certificate.fingerprint,
      keys,
      gathering,
      remote: invite.offer,
      ...(invite.purpose ? { purpose: invite.purpose } : {}),
      patience: latency + PATIENCE_MARGIN,
      base: latency,
      timeout: Math.max(1, until - clock.now()),
      news: options.news,
      told: reply.offer.nat,
      inform: () => sendUpdate([]),
      ...(options.onHeard ? { onHeard: options.onHeard } : {}),
      signal,
    })
  } catch (thrown) {
    if (options.gathering === undefined) await gathering.close()
    const error = asPlexusError(thrown)
    giveUp(context, opened, error)
    throw error
  } finally {
    posts.abort(new PlexusError('CANCELLED', 'The session is over.'))
    limit.dispose()
  }
}

/** Tells the inviter that this side has given up, unless it said so first. */
function giveUp(context: PairingContext, invite: Opened<Invite>, error: PlexusError): void {
  if (isFromPeer(error)) return
  void sayFarewell(context, inviterOf(context.app, invite), error)
}

/** @throws PlexusError NO_PATH when this machine has no network, and the peer is not on this machine */
function refuseIsland(gathering: Gathering, remote: readonly Candidate[]): void {
  const local = ({ endpoint }: Candidate) => scopeOf(endpoint.address) === 'loopback'
  if (!gathering.candidates.every(local) || remote.length === 0 || remote.some(local)) return
  const why = gathering.failure ? ` ${gathering.failure.message}` : ''
  throw new PlexusError('NO_PATH', `The accepter only has a loopback address.${why}`, {
    advice: 'Check the network of the accepter.',
  })
}
