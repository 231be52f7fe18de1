import type { Mailbox } from '../../rendezvous/interface.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import {
  type Certificate,
  expiryNotice,
  formatIdentity,
  type Host,
  type IdentityName,
} from '../identity/index.js'
import { seal, type Unverified, unseal } from '../sealing/index.js'
import { FRESHNESS, type PairingContext, shortSession } from './context.js'
import { decodeMessage, encodeMessage, type Header, type Message } from './message.js'

/** A message that was opened, and whose sender the repository vouches for. */
export interface Opened<M extends Message = Message> {
  readonly message: M
  /** The octets that were signed: what the keys of the session are bound to. */
  readonly content: Buffer
  /** The sender's certificate, by which the signature was verified. */
  readonly certificate: Certificate
  /** This side's pair that it was sealed to: an answer signed with it is one that the sender can verify. */
  readonly host: Host
}

export interface Sealed {
  readonly content: Buffer
  readonly sealed: Buffer
}

/** One message to an accepter, sealed to each of its certificates. */
export interface Mailing {
  readonly content: Buffer
  readonly copies: readonly { readonly to: Certificate; readonly sealed: Buffer }[]
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

  /**
   * The peer's certificates as the repository has them now: two during a rollover.
   * @throws PlexusError IDENTITY_MISSING, CERTIFICATE_UNTRUSTED…
   */
  certificatesOf(peer: IdentityName): Promise<[Certificate, ...Certificate[]]> {
    const { repository, host, clock } = this.#context
    return repository.certificates(peer, { host: host.name, date: clock.date() })
  }

  async seal(message: Message, to: Certificate): Promise<Sealed> {
    const content = encodeMessage(message)
    return { content, sealed: await seal(content, this.#context.host, to) }
  }

  /** Seals a message to each certificate of an accepter: which of its keys it still has, only it knows. */
  async mailing(message: Message, to: readonly Certificate[]): Promise<Mailing> {
    const content = encodeMessage(message)
    const { host } = this.#context
    const copy = async (certificate: Certificate) => ({
      to: certificate,
      sealed: await seal(content, host, certificate),
    })
    return { content, copies: await Promise.all(to.map(copy)) }
  }

  /**
   * Leaves a mailing in the identity mailbox of each certificate. Resolves when the first has it.
   * @throws what the rendezvous throws for the first certificate, when none has it
   */
  async postToAccepter(
    to: IdentityName,
    { copies }: Mailing,
    header: Header,
    signal: AbortSignal,
  ): Promise<void> {
    const posts = copies.map((copy) =>
      this.post(identityMailbox(header.app, to, copy.to), copy.sealed, header, signal),
    )
    await Promise.any(posts).catch((thrown: unknown) => {
      throw thrown instanceof AggregateError ? thrown.errors[0] : thrown
    })
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
   * @param excess whether a message that claims so is too much of its identity: then it is not verified, but dropped
   * @throws PlexusError UNSEALABLE, MALFORMED, ADDRESSEE, SENDER_UNKNOWN, SIGNATURE, CERTIFICATE_…, BUSY for an excess
   */
  async open(sealed: Uint8Array, excess: (claim: Message) => boolean = () => false): Promise<Opened> {
    const { host: own, repository } = this.#context
    const { unverified, host } = await unsealAsEither(sealed, own)
    const message = decodeMessage(unverified.content)
    const from = formatIdentity(message.from)
    if (formatIdentity(message.to) !== formatIdentity(own.name)) {
      throw new PlexusError(
        'ADDRESSEE',
        `A message that claims to be from ${from} is addressed to ${formatIdentity(message.to)}.`,
      )
    }
    if (excess(message))
      throw new PlexusError('BUSY', `A message that claims to be from ${from} exceeds its limit.`)
    if (!(await repository.has(message.from))) {
      throw new PlexusError(
        'SENDER_UNKNOWN',
        `A message claims to be from ${from}, who is not in the repository.`,
      )
    }
    const certificate = signerOf(from, unverified, await this.certificatesOf(message.from))
    this.#noticeExpiry(message, certificate)
    return { message, content: unverified.content, certificate, host }
  }

  /** Once for each session is enough. */
  #noticeExpiry(message: Message, certificate: Certificate): void {
    if (message.kind !== 'invite' && message.kind !== 'answer') return
    const { clock, log } = this.#context
    const notice = expiryNotice(certificate, clock.date())
    if (!notice) return
    const session = shortSession(message.session)
    log.warn({ session }, `the certificate of ${formatIdentity(message.from)} ${notice}`)
  }
}

/** Opens with this side's key, or with the next one during a rollover. @throws PlexusError UNSEALABLE, MALFORMED */
async function unsealAsEither(
  sealed: Uint8Array,
  host: Host,
): Promise<{ unverified: Unverified; host: Host }> {
  try {
    return { unverified: await unseal(sealed, host), host }
  } catch (thrown) {
    const { next } = host
    if (!next || asPlexusError(thrown).code !== 'UNSEALABLE') throw thrown
    return { unverified: await unseal(sealed, next), host: next }
  }
}

/** Which of the certificates of an identity signed. @throws PlexusError SIGNATURE, as for the first, if none did */
function signerOf(
  claimed: string,
  unverified: Unverified,
  certificates: readonly [Certificate, ...Certificate[]],
): Certificate {
  const failures: unknown[] = []
  for (const certificate of certificates) {
    try {
      unverified.verify(certificate)
      return certificate
    } catch (thrown) {
      failures.push(thrown)
    }
  }
  const { code, message } = asPlexusError(failures[0])
  throw new PlexusError(code, `A message claims to be from ${claimed}. ${message}`, { cause: failures[0] })
}

/** The mailbox in which an accepter waits for anybody. */
export function identityMailbox(app: string, name: IdentityName, certificate: Certificate): Mailbox {
  return { kind: 'identity', app, identity: formatIdentity(name), certificate: certificate.fingerprint }
}

/** The mailbox in which one side of one session waits. */
export function sessionMailbox(app: string, name: IdentityName, seed: Uint8Array): Mailbox {
  return { kind: 'session', app, identity: formatIdentity(name), seed }
}
