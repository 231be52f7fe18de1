import type { Mailbox, Rendezvous } from '../../rendezvous/interface.js'
import { type Certificate, type Host, type IdentityName, Repository } from '../../src/identity/index.js'
import { encodeMessage, type Header, type Invite, type Message } from '../../src/pairing/message.js'
import { NO_HINT } from '../../src/punch/index.js'
import { seal } from '../../src/sealing/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'

/** A message without what every message says about itself. */
type Body<M> = M extends Message ? Omit<M, keyof Header> & Partial<Header> : never

/** How long a message of this peer says that it is worth something, in ms. */
const WORTH = 60_000

/** An authentic peer with the bounds taken out: it has a key of the repository, and says whatever it likes as often as it likes. */
export class HostilePeer {
  readonly #host: Host
  readonly #to: IdentityName
  readonly #certificate: Certificate
  readonly app: string

  private constructor(host: Host, to: IdentityName, certificate: Certificate, app: string) {
    this.#host = host
    this.#to = to
    this.#certificate = certificate
    this.app = app
  }

  /** @param elsewhere where its own key is, of a stranger in another repository than the certificate of the accepter */
  static async of(
    path: string,
    name: IdentityName,
    to: IdentityName,
    app: string,
    elsewhere = path,
  ): Promise<HostilePeer> {
    const host = await (await Repository.open(elsewhere)).host(name)
    const repository = await Repository.open(path)
    const certificate = await repository.certificate(to, { host: name, date: systemClock.date() })
    return new HostilePeer(host, to, certificate, app)
  }

  /** The mailbox in which the accepter waits for anybody. */
  get mailbox(): Mailbox {
    const { owner, pin } = this.#to
    const { fingerprint } = this.#certificate
    return { kind: 'identity', app: this.app, identity: `${owner}/${pin}`, certificate: fingerprint }
  }

  /** An invite that nobody stands behind: what it is answered with goes nowhere. */
  invite(changes: Partial<Invite> = {}): Promise<Buffer> {
    const offer = { key: systemRandom(32), candidates: [], nat: NO_HINT, can: [] }
    return this.say({ kind: 'invite', reply: systemRandom(32), offer, ...changes })
  }

  abort(session?: string): Promise<Buffer> {
    const body = { kind: 'abort', code: 'CANCELLED', sentence: 'Never mind.' } as const
    return this.say(session === undefined ? body : { ...body, session })
  }

  /** Any message, signed and sealed. */
  say(body: Body<Message>): Promise<Buffer> {
    const time = systemClock.date()
    const header: Header = {
      from: this.#host.name,
      to: this.#to,
      app: this.app,
      session: systemRandom(16).toString('hex'),
      time,
      expires: time + WORTH,
    }
    return this.raw(encodeMessage({ ...header, ...body } as Message))
  }

  /** Any octets, signed and sealed. */
  raw(content: Buffer): Promise<Buffer> {
    return seal(content, this.#host, this.#certificate)
  }

  /** Leaves messages at the accepter's, side by side. */
  async leave(rendezvous: Rendezvous, messages: readonly Buffer[], signal: AbortSignal): Promise<void> {
    const from = `${this.#host.name.owner}/${this.#host.name.pin}`
    const expires = systemClock.date() + WORTH
    const post = (sealed: Buffer) =>
      rendezvous.post({ to: this.mailbox, from, session: systemRandom(16), expires }, sealed, { signal })
    await Promise.all(messages.map(post))
  }
}

/** So many of something that takes a while to make. */
export async function several<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = []
  for (let index = 0; index < count; index++) made.push(await make(index))
  return made
}
