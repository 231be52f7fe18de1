import { strict as assert } from 'node:assert'
import { createHash } from 'node:crypto'
import { type Clock, deadline, type Random } from '../src/net/index.js'
import type { Envelope, Mailbox, Rendezvous } from './interface.js'

/** Two rendezvous that can reach each other, freshly opened as two machines would. */
export interface ConformancePair {
  /** Posts to the identity mailbox; receives in the session mailbox. */
  readonly inviter: Rendezvous
  /** Receives in the identity mailbox; posts to the session mailbox. */
  readonly accepter: Rendezvous
  readonly clock: Clock
  readonly random: Random
}

/** One claim that every rendezvous has to meet. `run` throws an AssertionError, or times out, if it does not. */
export interface ConformanceCheck {
  readonly name: string
  run(pair: ConformancePair): Promise<void>
}

/** What a check waits for a message, in ms, beside ten times the latency that the rendezvous declares. */
const PATIENCE = 20_000
/** How long an abort may take to be seen, in ms: any length would do that is far below what networks take to fail. */
const PROMPT = 2000

const APP = 'conformance'

/** A session of its own for each check, so that one check's messages are not another's. */
class Session {
  readonly #pair: ConformancePair
  readonly #random: Random
  readonly #limit: ReturnType<typeof deadline>
  readonly signal: AbortSignal
  readonly identity: Mailbox
  readonly answers: Mailbox

  constructor(pair: ConformancePair) {
    this.#pair = pair
    this.#random = pair.random
    const latency = Math.max(pair.inviter.latency, pair.accepter.latency)
    this.#limit = deadline(pair.clock, PATIENCE + 10 * latency)
    this.signal = this.#limit.signal
    this.identity = { kind: 'identity', app: APP, identity: 'b/1', certificate: this.#random(32) }
    this.answers = { kind: 'session', app: APP, identity: 'a/1', seed: this.#random(32) }
  }

  post(to: Mailbox, sealed: Uint8Array, signal = this.signal): Promise<void> {
    const { inviter, accepter, clock } = this.#pair
    const envelope: Envelope = {
      to,
      from: to.kind === 'identity' ? 'a/1' : 'b/1',
      session: this.#random(16),
      expires: clock.date() + 600_000,
    }
    return (to.kind === 'identity' ? inviter : accepter).post(envelope, sealed, { signal })
  }

  receive(mailbox: Mailbox, signal = this.signal): AsyncIterator<Uint8Array> {
    const { inviter, accepter } = this.#pair
    const receiver = mailbox.kind === 'identity' ? accepter : inviter
    return receiver.receive(mailbox, { signal })[Symbol.asyncIterator]()
  }

  /** Takes messages until all of these have come, in any order and however often. */
  async expect(messages: AsyncIterator<Uint8Array>, wanted: readonly Uint8Array[]): Promise<void> {
    const missing = new Set(wanted.map(digest))
    const known = new Set(missing)
    while (missing.size > 0) {
      const { value, done } = await messages.next()
      assert.ok(!done, `${missing.size} of ${wanted.length} messages did not come`)
      assert.ok(known.has(digest(value)), 'a message came that nobody had posted to this mailbox')
      missing.delete(digest(value))
    }
  }

  /** Ends what the check began. */
  end(): void {
    this.#limit.dispose()
    this.#limit.abort(new Error('the check is over'))
  }
}

/** The claims, in the order in which a new rendezvous should be made to meet them. */
export function conformanceChecks(): readonly ConformanceCheck[] {
  return CLAIMS.map(([name, claim]) => ({
    name,
    async run(pair) {
      const session = new Session(pair)
      try {
        await claim(session, pair)
      } finally {
        session.end()
      }
    },
  }))
}

type Claim = (session: Session, pair: ConformancePair) => Promise<void>

const both = (session: Session): readonly Mailbox[] => [session.identity, session.answers]

const CLAIMS: readonly (readonly [name: string, claim: Claim])[] = [
  [
    'a message of 1 byte, and one of 4096, arrive as they were posted in either kind of mailbox',
    async (session, { random }) => {
      for (const mailbox of both(session)) {
        const messages = session.receive(mailbox)
        for (const length of [1, 4096]) {
          const message = random(length)
          await Promise.all([session.post(mailbox, message), session.expect(messages, [message])])
        }
      }
    },
  ],
  [
    'a message that is posted before anybody receives arrives',
    async (session, { random }) => {
      for (const mailbox of both(session)) {
        const message = random(700)
        const posted = session.post(mailbox, message)
        await Promise.all([posted, session.expect(session.receive(mailbox), [message])])
      }
    },
  ],
  [
    'several messages that are posted to one mailbox at once all arrive',
    async (session, { random }) => {
      for (const mailbox of both(session)) {
        const messages = [1, 2, 3, 4].map((kilobytes) => random(kilobytes * 900))
        const received = session.expect(session.receive(mailbox), messages)
        await Promise.all([received, ...messages.map((message) => session.post(mailbox, message))])
      }
    },
  ],
  [
    'the same message posted twice is harmless, and a later one still arrives',
    async (session, { random }) => {
      for (const mailbox of both(session)) {
        const [first, second] = [random(500), random(500)]
        const received = session.expect(session.receive(mailbox), [first, second])
        await Promise.all([session.post(mailbox, first), session.post(mailbox, first)])
        await session.post(mailbox, second)
        await received
      }
    },
  ],
  [
    'nothing arrives in a mailbox of another application, certificate or session',
    async (session, { random }) => {
      const { identity, answers } = session
      const others: Mailbox[] = [
        { ...identity, app: 'another' },
        { kind: 'identity', app: APP, identity: identity.identity, certificate: random(32) },
        { kind: 'session', app: APP, identity: answers.identity, seed: random(32) },
      ]
      const wrong: Uint8Array[] = []
      const reading = others.map(async (mailbox) => {
        for await (const message of { [Symbol.asyncIterator]: () => session.receive(mailbox) })
          wrong.push(message)
      })
      for (const mailbox of both(session)) {
        const message = random(300)
        await Promise.all([
          session.post(mailbox, message),
          session.expect(session.receive(mailbox), [message]),
        ])
      }
      assert.equal(wrong.length, 0)
      session.end()
      await Promise.all(reading)
    },
  ],
  [
    'receiving ends promptly, and without throwing, when its signal aborts',
    async (session, { clock }) => {
      for (const mailbox of both(session)) {
        const own = new AbortController()
        const next = session.receive(mailbox, own.signal).next()
        own.abort()
        assert.equal((await promptly(clock, next)).done, true)
      }
    },
  ],
  [
    'posting ends promptly when its signal aborts, with the reason or because it was done',
    async (session, { clock, random }) => {
      for (const mailbox of both(session)) {
        const own = new AbortController()
        const posted = session.post(mailbox, random(100), own.signal).catch((thrown) => {
          assert.equal(thrown, own.signal.reason)
        })
        own.abort()
        await promptly(clock, posted)
        const aborted = session.post(mailbox, random(100), own.signal)
        await promptly(
          clock,
          assert.rejects(aborted, (thrown) => thrown === own.signal.reason),
        )
      }
    },
  ],
  [
    'closing ends what is being received, and closing twice is harmless',
    async (session, { inviter, accepter, clock }) => {
      const reading = both(session).map((mailbox) => session.receive(mailbox).next())
      await promptly(clock, Promise.all([inviter.close(), accepter.close()]))
      for (const next of reading) assert.equal((await promptly(clock, next)).done, true)
      await promptly(clock, Promise.all([inviter.close(), accepter.close()]))
    },
  ],
]

async function promptly<T>(clock: Clock, promise: Promise<T>): Promise<T> {
  const limit = deadline(clock, PROMPT)
  try {
    return await new Promise((resolve, reject) => {
      limit.signal.addEventListener('abort', () => reject(limit.signal.reason), { once: true })
      promise.then(resolve, reject)
    })
  } finally {
    limit.dispose()
  }
}

function digest(message: Uint8Array): string {
  return createHash('sha256').update(message).digest('hex')
}
