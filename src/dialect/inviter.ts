import type { Letter, LetterHead } from '../../rendezvous/interface.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { expiryNotice, formatIdentity, type IdentityName } from '../identity/index.js'
import { deadline, type Endpoint } from '../net/index.js'
import {
  type Gathering,
  keepMapped,
  type PairingContext,
  shortSession,
  stretchedTimeout,
} from '../pairing/index.js'
import { readHead, secretOf } from '../plexus3/index.js'
import type { Digests } from './digests.js'
import { dig, openGround, type Plexus3Passage, publicEndpoint } from './hole.js'
import { isLetter, type LetterContext, Letterhead, lettersOf, openLetter, staleness } from './letter.js'

/** How many answers are tried side by side: one is of the peer, others of earlier invites, or somebody's old words. */
const MAX_ANSWERS = 4

export interface Plexus3InviteOptions {
  /** Ends the attempt. */
  readonly signal: AbortSignal
  readonly allowPlain: boolean
  /** The answers that this peer has given before. */
  readonly digests: Digests
}

/**
 * Invites a plexus 3.x peer once: gather, mail the invite, wait for the answer, shake hands.
 * The caller owns the passage's port; on failure everything is closed. There is no word to tell such a peer why.
 * @throws PlexusError DIALECT, PEER_SILENT, NO_PATH, STUN_UNREACHABLE, PUNCH_TIMEOUT, RENDEZVOUS_UNREACHABLE …, or the signal's reason
 */
export async function inviteByLetter(
  outer: PairingContext,
  peer: IdentityName,
  options: Plexus3InviteOptions,
): Promise<Plexus3Passage> {
  const session = outer.random(16).toString('hex')
  const log = outer.log.child({ session: shortSession(session) })
  const context = { ...outer, log, allowPlain: options.allowPlain }
  const { clock, host, app } = context
  const name = formatIdentity(peer)
  const total = stretchedTimeout(context)
  const seconds = Math.round(total / 1000)
  const letterhead = await Letterhead.to(peer, context)
  const notice = expiryNotice(host.certificate, clock.date())
  if (notice) log.warn({}, `your certificate of ${formatIdentity(host.name)} ${notice}`)
  log.info({}, `inviting ${name} to '${app}' over ${context.rendezvous.name} in the plexus-3 dialect`)
  const limit = deadline(
    clock,
    total,
    options.signal,
    () => new PlexusError('PEER_SILENT', `${name} has not answered in ${seconds} s.`),
  )
  const over = new AbortController()
  const attempt = new Attempt(context, { ...options, session, peer, over: over.signal })
  const listening = attempt.listen()
  let gathering: Gathering | undefined
  try {
    const [gathered, ready] = await Promise.allSettled([
      openGround(context, limit.signal),
      lettersOf(context.rendezvous).ready({ signal: limit.signal }),
    ])
    if (gathered.status === 'rejected') throw gathered.reason
    gathering = gathered.value
    if (ready.status === 'rejected') {
      if (asPlexusError(ready.reason).code !== 'PEER_SILENT') throw ready.reason
      throw new PlexusError('RENDEZVOUS_UNREACHABLE', `The mailbox could not be read in ${seconds} s.`)
    }
    const own = publicEndpoint(gathering)
    return await attempt.run(letterhead, gathering, own, limit.signal)
  } catch (thrown) {
    over.abort(thrown)
    await gathering?.close()
    throw thrown
  } finally {
    limit.dispose()
    over.abort(new PlexusError('CANCELLED', 'The session is over.'))
    await listening
  }
}

interface AttemptOptions extends Plexus3InviteOptions {
  readonly session: string
  readonly peer: IdentityName
  /** Aborts when the session ends, however it ends. */
  readonly over: AbortSignal
}

/**
 * ```
 * preparing ─► awaiting ─► shaking
 * ```
 */
type State =
  /** What comes now answers an earlier invite. */
  | { readonly name: 'preparing' }
  | { readonly name: 'awaiting'; readonly answered: (letter: Letter) => void }
  /** At least one answer was opened, and its handshake goes on. */
  | { readonly name: 'shaking'; readonly answered: (letter: Letter) => void }

class Attempt {
  readonly #context: LetterContext & PairingContext
  readonly #options: AttemptOptions
  #state: State = { name: 'preparing' }

  constructor(context: LetterContext & PairingContext, options: AttemptOptions) {
    this.#context = context
    this.#options = options
  }

  /** Takes answers until the session is over. Never rejects. */
  async listen(): Promise<void> {
    const { rendezvous, log } = this.#context
    const { over } = this.#options
    const letters = lettersOf(rendezvous)
    try {
      for await (const letter of letters.receive((head) => this.#wanted(head), {
        signal: over,
        urgent: true,
        ours: (letter) => isLetter(letter, this.#context),
      })) {
        const { name } = this.#state
        if (letter.lay || name === 'preparing') await this.#discard(letter)
        else this.#state.answered(letter)
      }
    } catch (thrown) {
      if (!over.aborted) log.warn({ code: asPlexusError(thrown).code }, asPlexusError(thrown).message)
    }
  }

  async #wanted({ header }: LetterHead): Promise<boolean> {
    const { app, host } = this.#context
    const head = readHead(header, app)
    if (head?.kind !== 'accept' || formatIdentity(head.to) !== formatIdentity(host.name)) return false
    return formatIdentity(head.from) === formatIdentity(this.#options.peer)
  }

  /** It answers an earlier invite; its words are known from now on. */
  async #discard(letter: Letter): Promise<void> {
    const { peer, digests } = this.#options
    this.#context.log.debug({}, 'found an answer to an earlier invite in the mailbox')
    await openLetter(letter, peer, this.#context).then(
      ({ digest }) => digests.first(digest),
      () => {},
    )
  }

  async run(
    letterhead: Letterhead,
    gathering: Gathering,
    own: Endpoint,
    limit: AbortSignal,
  ): Promise<Plexus3Passage> {
    const { clock, log, random } = this.#context
    const { over } = this.#options
    const puzzle = random(8).readBigUInt64BE()
    const posting = new AbortController()
    const mapped = new AbortController()
    const shaking = new AbortController()
    const onover = () => {
      for (const each of [posting, mapped, shaking]) each.abort(over.reason)
    }
    over.addEventListener('abort', onover, { once: true })
    keepMapped(this.#context, gathering, mapped.signal, () => {})
    let onlimit = () => {}
    let oncancel = () => {}
    const { signal } = this.#options
    try {
      return await new Promise<Plexus3Passage>((resolve, reject) => {
        let handshakes = 0
        onlimit = () => {
          const reason = asPlexusError(limit.reason, 'CANCELLED')
          // a peer that answered was not silent: the handshake ends by a time-out of its own
          if (this.#state.name !== 'shaking' || reason.code !== 'PEER_SILENT') reject(reason)
        }
        // the limit may have passed already, and says no more then
        oncancel = () => reject(signal.reason)
        signal.addEventListener('abort', oncancel, { once: true })
        limit.addEventListener('abort', onlimit, { once: true })
        if (limit.aborted) onlimit()
        const answered = (letter: Letter) => {
          if (handshakes >= MAX_ANSWERS) return
          handshakes++
          this.#shake(letter, puzzle, gathering, own, shaking.signal, () => {
            mapped.abort()
            this.#state = { name: 'shaking', answered }
          })
            .then(resolve, (thrown: unknown) => {
              const error = asPlexusError(thrown)
              if (handshakes > 1 || error.kind === 'hostile') this.#tell(letter, error)
              else reject(error)
            })
            .finally(() => {
              handshakes--
            })
        }
        this.#state = { name: 'awaiting', answered }
        const started = clock.now()
        letterhead.post('invite', { endpoint: own, puzzle }, posting.signal).then(
          () => log.info({}, `invite mailed in ${Math.round(clock.now() - started)} ms`),
          (thrown: unknown) => {
            if (!posting.signal.aborted && this.#state.name !== 'shaking') reject(thrown)
          },
        )
      })
    } finally {
      signal.removeEventListener('abort', oncancel)
      limit.removeEventListener('abort', onlimit)
      over.removeEventListener('abort', onover)
      onover()
    }
  }

  /** One answer, from the mail to the hole. @param begun is called once it was opened */
  async #shake(
    letter: Letter,
    puzzle: bigint,
    gathering: Gathering,
    own: Endpoint,
    signal: AbortSignal,
    begun: () => void,
  ): Promise<Plexus3Passage> {
    const { peer, session, digests } = this.#options
    const { log, timeout } = this.#context
    const name = formatIdentity(peer)
    const stale = staleness(letter, this.#context)
    if (stale !== undefined) throw new PlexusError('EXPIRED', `The answer is not accepted: ${stale}.`)
    const { message, digest, form, fingerprint } = await openLetter(letter, peer, this.#context)
    if (!(await digests.first(digest))) {
      throw new PlexusError('REPLAYED', 'The answer is not accepted: it was received before.')
    }
    if (form === 'plain') log.warn({}, `${name} answered in a mail that nobody has signed`)
    log.info({}, `${name} answered in the form of plexus ${message.version}`)
    begun()
    const secret = secretOf(puzzle, message.puzzle)
    return await dig(
      { ...this.#context },
      { role: 'inviter', session, peer, fingerprint, secret, gathering, own, message, timeout, signal },
    )
  }

  #tell({ arrived }: Letter, { code, message }: PlexusError): void {
    const name = formatIdentity(this.#options.peer)
    const when = new Date(arrived).toISOString()
    this.#context.log.warn({ code }, `a mail from ${name} of ${when} was dropped: ${message}`)
  }
}
