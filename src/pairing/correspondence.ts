import type { Mailbox } from '../../rendezvous/interface.js'
import { PlexusError } from '../errors/index.js'
import { type Certificate, formatIdentity, type IdentityName } from '../identity/index.js'
import { seal, unseal } from '../sealing/index.js'
import { FRESHNESS, type PairingContext } from './context.js'
import { decodeMessage, encodeMessage, type Header, type Message } from './message.js'

/** A message that was opened, and whose sender the repository vouches for. */
export interface Opened<M extends Message = Message> {
  readonly message: M
  /** The octets that were signed: what the keys of the session are bound to. */
  readonly content: Buffer
  /** The sender's certificate, by which the signature was verified. */
  readonly certificate: Certificate
}

export interface Sealed {
  readonly content: Buffer
  readonly sealed: Buffer
}

/** Writes and opens what two identities say to each other through a rendezvous. */
export class Correspondence {
  readonly #context: PairingContext

  constructor(context: PairingContext) {
    this.#context = context
  }

  /** The header of a message to a peer, made now. */
  header(to: IdentityName, session: string): Header {
    const time = this.#context.clock.date()
    const { app, host } = this.#context
    return { from: host.name, to, app, session, time, expires: time + FRESHNESS }
  }

  /** The peer's certificate as the repository has it now. @throws PlexusError IDENTITY_MISSING, CERTIFICATE_UNTRUSTED… */
  certificateOf(peer: IdentityName): Promise<Certificate> {
    const { repository, host, clock } = this.#context
    return repository.certificate(peer, { host: host.name, date: clock.date() })
  }

  async seal(message: Message, to: Certificate): Promise<Sealed> {
    const content = encodeMessage(message)
    return { content, sealed: await seal(content, this.#context.host, to) }
  }

  /** Leaves a sealed message in a mailbox. @throws what the rendezvous throws */
  post(to: Mailbox, sealed: Uint8Array, header: Header, signal: AbortSignal): Promise<void> {
    const session = Buffer.from(header.session, 'hex')
    const envelope = { to, from: formatIdentity(header.from), session, expires: header.expires }
    return this.#context.rendezvous.post(envelope, sealed, { signal })
  }

  /**
   * Opens a message and makes sure who wrote it: the signer is whom the repository has under the name that the
   * message claims, and it is addressed to this host. Application and freshness are the caller's to judge.
   * @throws PlexusError UNSEALABLE, MALFORMED, ADDRESSEE, SENDER_UNKNOWN, SIGNATURE, CERTIFICATE_…
   */
  async open(sealed: Uint8Array): Promise<Opened> {
    const { host, repository } = this.#context
    const unverified = await unseal(sealed, host)
    const message = decodeMessage(unverified.content)
    const from = formatIdentity(message.from)
    if (formatIdentity(message.to) !== formatIdentity(host.name)) {
      throw new PlexusError(
        'ADDRESSEE',
        `A message that claims to be from ${from} is addressed to ${formatIdentity(message.to)}.`,
      )
    }
    if (!(await repository.has(message.from))) {
      throw new PlexusError(
        'SENDER_UNKNOWN',
        `A message claims to be from ${from}, who is not in the repository.`,
      )
    }
    const certificate = await this.certificateOf(message.from)
    unverified.verify(certificate)
    return { message, content: unverified.content, certificate }
  }
}

/** The mailbox in which an accepter waits for anybody. */
export function identityMailbox(app: string, name: IdentityName, certificate: Certificate): Mailbox {
  return { kind: 'identity', app, identity: formatIdentity(name), certificate: certificate.fingerprint }
}

/** The mailbox in which one side of one session waits. */
export function sessionMailbox(app: string, name: IdentityName, seed: Uint8Array): Mailbox {
  return { kind: 'session', app, identity: formatIdentity(name), seed }
}
