import { asPlexusError, PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { broadController, type Clock, sleep } from '../net/index.js'
import { discard, invite, type PairingContext, type Passage, shortSession } from '../pairing/index.js'
import { type PairingEvent, watch } from '../watch/index.js'
import { type Echo, EchoCipher, type EchoType } from './echo.js'

/** Between two echoes, in ms: as ping(8) allows everybody. */
const INTERVAL = 200
/** How often, every INTERVAL, the peer is asked whether it listens: it may close its part of the punch a little later. */
const HELLOS = 10
/** How long after the last echo a reply still counts, in ms: longer than any path that is worth having. */
const STRAGGLERS = 1000
/** The last word is said so often: it is not answered. */
const BYES = 3
/** A responder that heard nothing for so long is done, in ms. */
const SILENCE = 3000
/** The longest that a responder serves one ping, in ms: its peer may send no more than this, whatever it asks for. */
const LONGEST = 15_000
/** How many pings an accepter answers at a time, and how many of one identity: each holds a port. */
const MOST = 16
const MOST_OF_A_PEER = 3

/** What the echoes through a hole showed. */
export interface PingReport {
  readonly passage: Passage
  readonly sent: number
  /** Round-trip times of the echoes that came back, in ms, by their number from 1. */
  readonly replies: ReadonlyMap<number, number>
}

export interface PingOptions {
  readonly signal: AbortSignal
  /** How many echoes are sent. */
  readonly count: number
  /** Hears of every step. */
  readonly tell: (event: PairingEvent) => void
}

/**
 * Pairs with a peer that starts nothing for it, sends some echoes through the hole, and lets go of it.
 * @throws PlexusError as `invite` does, or the signal's reason
 */
export async function runPing(
  context: PairingContext,
  peer: IdentityName,
  options: PingOptions,
): Promise<PingReport> {
  const { signal, tell } = options
  const scope = {}
  const stopWatching = watch('plexus:pairing', ({ event }) => tell(event), scope)
  const passage = await invite({ ...context, scope }, peer, { signal, purpose: 'ping' }).finally(stopWatching)
  const log = context.log.child({ session: shortSession(passage.session) })
  try {
    return await exchange({ ...context, log }, passage, options)
  } finally {
    await discard(passage)
  }
}

async function exchange(
  context: PairingContext,
  passage: Passage,
  { signal, count }: PingOptions,
): Promise<PingReport> {
  const { clock, random, log } = context
  const { port, faraway, keys } = passage
  const cipher = new EchoCipher('inviter', keys, random)
  const sentAt = new Map<number, number>()
  const replies = new Map<number, number>()
  const heard = new AbortController()
  const complete = new AbortController()
  const say = (type: EchoType, sequence: number) => port.send(cipher.seal({ type, sequence }), faraway)
  const stop = port.listen(({ data }) => {
    const echo = cipher.open(data)
    if (echo?.type !== 'reply') return
    heard.abort()
    const since = sentAt.get(echo.sequence)
    if (since === undefined || replies.has(echo.sequence)) return
    const rtt = clock.now() - since
    replies.set(echo.sequence, rtt)
    log.debug({}, `echo ${echo.sequence} came back after ${rtt.toFixed(1)} ms`)
    if (replies.size === count) complete.abort()
  })
  try {
    for (let hello = 0; hello < HELLOS && !heard.signal.aborted; hello++) {
      say('hello', 0)
      await wait(clock, INTERVAL, heard.signal, signal)
    }
    for (let sequence = 1; sequence <= count; sequence++) {
      sentAt.set(sequence, clock.now())
      say('echo', sequence)
      if (sequence < count) await sleep(clock, INTERVAL, signal)
    }
    await wait(clock, STRAGGLERS, complete.signal, signal)
    return { passage, sent: count, replies }
  } finally {
    stop()
    for (let bye = 0; bye < BYES; bye++) say('bye', 0)
  }
}

/** Waits `ms`, or until `enough` aborts. @throws the reason of `signal` */
async function wait(clock: Clock, ms: number, enough: AbortSignal, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  if (enough.aborted) return
  const either = new AbortController()
  const onabort = () => either.abort()
  for (const one of [enough, signal]) one.addEventListener('abort', onabort, { once: true })
  await sleep(clock, ms, either.signal).catch(() => {})
  for (const one of [enough, signal]) one.removeEventListener('abort', onabort)
  signal.throwIfAborted()
}

/** Answers the pings of an accepter: no command is started for them, and none is disturbed. */
export class PingResponder {
  readonly #context: PairingContext
  readonly #over = broadController()
  /** Whose pings they are. */
  readonly #answering = new Map<Promise<void>, string>()

  constructor(context: PairingContext) {
    this.#context = context
  }

  /** How many are being answered. */
  get size(): number {
    return this.#answering.size
  }

  /** How many are in the way of one more of a peer, of its own or in all; 0 if there is room. */
  taken(peer: IdentityName): number {
    const name = formatIdentity(peer)
    const own = [...this.#answering.values()].filter((whose) => whose === name).length
    if (own >= MOST_OF_A_PEER) return own
    return this.size >= MOST ? this.size : 0
  }

  /** Takes over the passage of a ping, and its port. */
  take(passage: Passage): void {
    const log = this.#context.log.child({ session: shortSession(passage.session) })
    const answering = this.#answer(passage)
      .then((echoes) => log.info({}, `ping over: ${echoes} echoes answered`))
      .catch((thrown: unknown) =>
        log.warn({ code: asPlexusError(thrown).code }, asPlexusError(thrown).message),
      )
      .finally(() => this.#answering.delete(answering))
    this.#answering.set(answering, formatIdentity(passage.peer))
  }

  /** Answers no more. Resolves when every port is closed. */
  async close(): Promise<void> {
    this.#over.abort(new PlexusError('CANCELLED', 'The accepter is stopping.'))
    await Promise.all(this.#answering.keys())
  }

  async #answer(passage: Passage): Promise<number> {
    const { port, keys, faraway } = passage
    const { clock, random } = this.#context
    const cipher = new EchoCipher('accepter', keys, random)
    let echoes = 0
    const done = new AbortController()
    let news = new AbortController()
    const take = ({ type, sequence }: Echo) => {
      if (type === 'bye') done.abort()
      if (type !== 'hello' && type !== 'echo') return
      if (type === 'echo') echoes++
      // to the far end of the hole, wherever it came from: one that is played again leads nowhere else
      port.send(cipher.seal({ type: 'reply', sequence }), faraway)
      news.abort()
    }
    const stop = port.listen(({ data }) => {
      const echo = cipher.open(data)
      if (echo) take(echo)
    })
    const onover = () => done.abort()
    this.#over.signal.addEventListener('abort', onover, { once: true })
    if (this.#over.signal.aborted) onover()
    try {
      const end = clock.now() + LONGEST
      for (let heard = true; heard && !done.signal.aborted && clock.now() < end; ) {
        news = new AbortController()
        await wait(clock, SILENCE, news.signal, done.signal).catch(() => {})
        heard = news.signal.aborted
      }
      return echoes
    } finally {
      this.#over.signal.removeEventListener('abort', onover)
      stop()
      await discard(passage)
    }
  }
}
