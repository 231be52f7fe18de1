import type { Letter, LetterHead } from '../../rendezvous/interface.js'
import { asPlexusError, type ErrorCode, PlexusError } from '../errors/index.js'
import { formatIdentity, type Host, type IdentityName } from '../identity/index.js'
import { sleep } from '../net/index.js'
import {
  type Accepter,
  Complaints,
  type PairingContext,
  Rate,
  type Refused,
  shortSession,
  stretchedTimeout,
} from '../pairing/index.js'
import { readHead, secretOf } from '../plexus3/index.js'
import type { DialectChoice } from './choice.js'
import type { Digests } from './digests.js'
import { checkEndpoint, dig, openGround, type Plexus3Passage, publicEndpoint } from './hole.js'
import {
  isLetter,
  type LetterContext,
  Letterhead,
  lettersOf,
  openLetter,
  type Said,
  staleness,
} from './letter.js'
import type { NativePeers } from './natives.js'

/**
 * How many mails that come to nothing are opened in WINDOW ms: who a mail is from says its header, and anybody can write
 * one. What is beyond waits.
 */
const MAX_WASTED = 120
const WINDOW = 60_000

export interface LetterAccepterOptions {
  /** Whose bounds hold for these sessions too. */
  readonly accepter: Accepter
  readonly choice: DialectChoice
  readonly natives: NativePeers
  /** The invites that have come before. */
  readonly digests: Digests
  readonly allowPlain: boolean
  /** Only these peers; without it everyone who has a directory in the repository. */
  readonly peers?: readonly IdentityName[]
  /** May say no to every pairing in this dialect. */
  readonly admit: () => Refused | undefined
  /** Takes over the passage and its port. */
  readonly onPassage: (passage: Plexus3Passage) => void
}

/** Waits for the invites of plexus 3.x peers, beside an accepter of the native language. */
export class LetterAccepter {
  #context: LetterContext & PairingContext
  readonly #options: LetterAccepterOptions
  readonly #complaints: Complaints
  readonly #wasted: Rate
  /** The sessions that are being begun. */
  readonly #beginning = new Set<Promise<void>>()
  /** What was told already: once is enough, and anybody can write such a header. */
  readonly #hinted = new Set<string>()

  constructor(context: PairingContext, options: LetterAccepterOptions) {
    this.#context = { ...context, allowPlain: options.allowPlain }
    this.#options = options
    this.#complaints = new Complaints(context.clock)
    this.#wasted = new Rate(context.clock, MAX_WASTED, WINDOW)
  }

  /** From now on this is the identity of this side. */
  adopt(host: Host): void {
    this.#context = { ...this.#context, host }
  }

  /** Receives until the signal aborts. @throws what the rendezvous throws */
  async run(signal: AbortSignal): Promise<void> {
    const letters = lettersOf(this.#context.rendezvous)
    const ours = (letter: Letter) => isLetter(letter, this.#context)
    for await (const letter of letters.receive((head) => this.#wanted(head), { signal, ours })) {
      const from = readHead(letter.header, this.#context.app)?.from
      if (!from) continue
      try {
        await this.#take(letter, from)
      } catch (thrown) {
        this.#drop(letter, from, thrown)
        await this.#waste(signal)
      }
    }
    await Promise.all(this.#beginning)
  }

  async #waste(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#wasted.allows('')) {
      await sleep(this.#context.clock, this.#wasted.wait(''), signal).catch(() => {})
    }
  }

  /** Whether it is an invite for this host by somebody who is spoken with like this. Nothing else is opened. */
  async #wanted(head: LetterHead): Promise<boolean> {
    const { app, host, repository } = this.#context
    const { choice, natives, peers } = this.#options
    const read = readHead(head.header, app)
    if (read?.kind !== 'invite') return false
    const [from, to, own] = [read.from, read.to, host.name].map(formatIdentity)
    if (from === undefined || to !== own || from === own) return false
    if (peers && !peers.some((peer) => formatIdentity(peer) === from)) return false
    if (!(await repository.has(read.from).catch(() => false))) return false
    const mail = { from, current: staleness(head, this.#context) === undefined }
    if ((await choice.cautious(read.from)) === 'native') {
      const file = repository.paths(read.from).dialect
      const how = `use --dialect=auto, or, for this peer only, write the word auto to ${file}`
      return this.#hint(mail, `to answer such invites ${how}`)
    }
    if (host.certificate.keyKind !== 'rsa') {
      return this.#hint(mail, 'your identity has an EC key, but such a peer needs an RSA key')
    }
    if (await natives.has(read.from)) {
      const lift = `to allow it, remove its line from ${natives.file}`
      return this.#hint(
        mail,
        `it has used the native protocol before and is no longer answered in the old one; ${lift}`,
      )
    }
    return true
  }

  /** Tells once for each peer why it is left alone, if the mail is of now. */
  #hint({ from, current }: { from: string; current: boolean }, why: string): false {
    const text = `ignoring a mail that claims to be a plexus 3.x invite from ${from}: ${why}`
    if (current && !this.#hinted.has(text)) {
      this.#hinted.add(text)
      this.#context.log.warn({ code: 'DIALECT' }, text)
    }
    return false
  }

  /** One line: who, when, why. */
  #drop({ arrived }: Letter, from: IdentityName, thrown: unknown): void {
    const { code, message: why } = asPlexusError(thrown)
    const when = Number.isFinite(arrived) ? new Date(arrived).toISOString() : 'an unknown date'
    const message = `a mail from ${formatIdentity(from)} of ${when} was dropped: ${why}`
    this.#complaints.ofStranger(this.#context.log, new PlexusError(code, message))
  }

  async #take(letter: Letter, from: IdentityName): Promise<void> {
    const { log, random } = this.#context
    const peer = formatIdentity(from)
    const stale = staleness(letter, this.#context)
    if (stale !== undefined) throw new PlexusError('EXPIRED', `An invite was not answered: ${stale}.`)
    const said = await openLetter(letter, from, this.#context)
    if (!this.#options.accepter.listensTo(from, 'invite')) return
    if (!(await this.#options.digests.first(said.digest))) {
      throw new PlexusError('REPLAYED', 'This message was received before.')
    }
    const session = random(16).toString('hex')
    const inner = log.child({ session: shortSession(session) })
    const begun = this.#begin(from, said, session)
      .then((refused) => {
        // such a peer can be told nothing: it waits until its time is up
        const message = `${peer} is not answered: ${refused?.sentence}`
        if (refused) this.#complaints.ofPeer(inner, peer, { code: refused.code as ErrorCode, message })
      })
      .catch((thrown: unknown) => this.#complaints.ofPeer(inner, peer, asPlexusError(thrown)))
      .finally(() => this.#beginning.delete(begun))
    this.#beginning.add(begun)
  }

  /** Finding a place may take a while, and holds up no other mail. */
  async #begin(peer: IdentityName, said: Said, session: string): Promise<Refused | undefined> {
    const { admit, accepter } = this.#options
    return (
      admit() ??
      (await accepter.begin(peer, session, (context, signal, heard) =>
        this.#answer(context, peer, said, session, signal, heard),
      ))
    )
  }

  /** The session of an invite that was opened: gather, answer, shake hands, hand over. */
  async #answer(
    context: PairingContext,
    peer: IdentityName,
    { message, form, fingerprint }: Said,
    session: string,
    signal: AbortSignal,
    onHeard: () => void,
  ): Promise<void> {
    const { clock, log, random } = context
    const { allowPlain, onPassage } = this.#options
    const name = formatIdentity(peer)
    log.info({}, `invited by ${name} in the plexus-3 dialect, in the form of plexus ${message.version}`)
    if (form === 'plain') {
      log.warn({}, `the invite of ${name} is not signed, and anybody on the way can read the answer`)
    }
    if (message.version !== '3.0') {
      const wanted = `qos '${message.qos}'`
      log.info({}, `answering in the form of 3.0 (${wanted}); the peer must allow direct udp:either`)
    }
    const letterhead = await Letterhead.to(peer, { ...context, allowPlain }, form)
    const over = new AbortController()
    const onabort = () => over.abort(signal.reason)
    signal.addEventListener('abort', onabort, { once: true })
    if (signal.aborted) onabort()
    try {
      const gathering = await openGround(context, over.signal)
      try {
        const own = publicEndpoint(gathering, message.endpoint)
        checkEndpoint(message.endpoint, own)
        const puzzle = random(8).readBigUInt64BE()
        const posted = clock.now()
        letterhead.post('accept', { endpoint: own, puzzle }, over.signal).then(
          () => log.info({}, `answer mailed in ${Math.round(clock.now() - posted)} ms`),
          (thrown: unknown) => {
            if (!over.signal.aborted) over.abort(asPlexusError(thrown, 'RENDEZVOUS_UNREACHABLE'))
          },
        )
        const passage = await dig(context, {
          role: 'accepter',
          session,
          peer,
          fingerprint,
          secret: secretOf(message.puzzle, puzzle),
          gathering,
          own,
          message,
          timeout: stretchedTimeout(context),
          onHeard,
          signal: over.signal,
        })
        onPassage(passage)
      } catch (thrown) {
        await gathering.close()
        throw thrown
      }
    } finally {
      signal.removeEventListener('abort', onabort)
      over.abort(new PlexusError('CANCELLED', 'The session is over.'))
    }
  }
}
