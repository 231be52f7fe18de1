import { createHash } from 'node:crypto'
import type { Letter, Letters, Rendezvous } from '../../rendezvous/interface.js'
import { asPlexusError, PlexusError } from '../errors/index.js'
import { type Certificate, formatIdentity, type Host, type IdentityName } from '../identity/index.js'
import type { PairingContext } from '../pairing/index.js'
import {
  findEntity,
  formatAddress,
  formatSubject,
  type Opened,
  openEntity,
  type PeerMessage,
  type Plexus3Head,
  readHead,
  readMessage,
  readPlain,
  requireRsa,
  sealEntity,
  writeMail,
  writeMessage,
} from '../plexus3/index.js'

/** How far the mail server's date of arrival may be from now, in ms: a message names no time of its own. */
const FRESHNESS = 10 * 60_000

/** What a letter is written and opened with. */
export interface LetterContext
  extends Pick<PairingContext, 'clock' | 'log' | 'repository' | 'host' | 'app' | 'rendezvous'> {
  /** Whether what nobody has signed or sealed is taken, and written where a certificate is missing. */
  readonly allowPlain: boolean
}

/** What a peer has said in a letter that was opened. */
export interface Said {
  readonly message: PeerMessage
  /** SHA-256 of the words that were signed: the same however often they are sent, and to whom. */
  readonly digest: Buffer
  /** `plain`: nobody has signed it. */
  readonly form: Form
  /** SHA-256 of the certificate that signed it. */
  readonly fingerprint: Buffer | undefined
}

export type Form = 'sealed' | 'plain'

/** The mails of a rendezvous. @throws PlexusError BAD_FLAG if it has none */
export function lettersOf({ letters }: Pick<Rendezvous, 'letters'>): Letters {
  if (letters !== undefined) return letters
  throw new PlexusError('BAD_FLAG', 'The plexus-3 dialect needs email, and no --rendezvous has it.', {
    advice: 'Add --rendezvous=email: with the --email flags of the account, or leave --dialect=native.',
  })
}

/** Whether the mail server took it within the last minutes, by its clock; in words if not. */
export function staleness({ arrived }: Pick<Letter, 'arrived'>, { clock }: Pick<PairingContext, 'clock'>) {
  const off = clock.date() - arrived
  if (Math.abs(off) <= FRESHNESS) return undefined
  const when = off > 0 ? 'ago' : 'from now'
  const minutes = Math.round(Math.abs(off) / 60_000)
  return `it arrived ${minutes} minutes ${when} by the date of the mail server, and may be ${FRESHNESS / 60_000} off`
}

/** The mails to one peer. */
export class Letterhead {
  readonly #context: LetterContext
  readonly #peer: IdentityName
  readonly #certificate: Certificate | undefined

  private constructor(context: LetterContext, peer: IdentityName, certificate: Certificate | undefined) {
    this.#context = context
    this.#peer = peer
    this.#certificate = certificate
  }

  /**
   * Makes sure of all that can be known before anything is sent.
   * @param form what the peer has to be able to read; without it sealed if there is a certificate of it
   * @throws PlexusError DIALECT for an EC key or a name that cannot stand in a mail, IDENTITY_MISSING, CERTIFICATE_…
   */
  static async to(peer: IdentityName, context: LetterContext, form?: Form): Promise<Letterhead> {
    const { repository, host, clock, app, allowPlain, log } = context
    for (const name of [peer, host.name]) formatAddress(name)
    formatSubject(app, 'invite')
    if (form === 'plain') return new Letterhead(context, peer, undefined)
    try {
      const certificate = await repository.certificate(peer, { host: host.name, date: clock.date() })
      for (const each of [host.certificate, certificate]) requireRsa(each)
      return new Letterhead(context, peer, certificate)
    } catch (thrown) {
      const { code } = asPlexusError(thrown)
      if (code !== 'IDENTITY_MISSING' || !allowPlain || form === 'sealed') throw thrown
      log.warn(
        { code },
        `no certificate of ${formatIdentity(peer)}: anybody on the way can read and change what it is sent`,
      )
      return new Letterhead(context, peer, undefined)
    }
  }

  /** Hands in a mail. @throws what the rendezvous throws */
  async post(
    kind: Plexus3Head['kind'],
    message: Pick<PeerMessage, 'endpoint' | 'puzzle'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { host, app, rendezvous } = this.#context
    const line = writeMessage(message)
    const entity = this.#certificate ? await sealEntity(line, host, this.#certificate) : line
    const text = writeMail({ from: host.name, to: this.#peer, app, kind, entity })
    const letter = { from: host.name.owner, to: this.#peer.owner, text }
    await lettersOf(rendezvous).post(letter, { signal, ours: (copy) => isLetter(copy, this.#context) })
  }
}

/** Whether a letter that was opened is what its outside says; one that only has its subject is somebody's own mail. */
export async function isLetter(letter: Letter, { app }: Pick<LetterContext, 'app'>): Promise<boolean> {
  const from = readHead(letter.header, app)?.from
  return from !== undefined && (await findEntity(letter, from)) !== undefined
}

/**
 * Opens a letter of a peer that the repository knows.
 * @throws PlexusError UNSEALABLE, MALFORMED, NO_PATH, DIALECT, IDENTITY_MISSING, CERTIFICATE_…
 */
export async function openLetter(
  letter: Pick<Letter, 'body' | 'source'>,
  from: IdentityName,
  context: LetterContext,
): Promise<Said> {
  const { repository, host, clock, allowPlain } = context
  const part = await findEntity(letter, from)
  if (part === undefined) throw new PlexusError('MALFORMED', 'The mail is not from a plexus 3.x peer.')
  const plain = readPlain(part)
  if (plain !== undefined) {
    if (!allowPlain) {
      throw new PlexusError('UNSEALABLE', 'It is neither sealed nor signed.', {
        advice: 'Give each side the certificate of the other, or allow this with --allow-plain.',
      })
    }
    const digest = createHash('sha256').update(plain).digest()
    return { message: readMessage(plain), digest, form: 'plain', fingerprint: undefined }
  }
  const certificates = await repository.certificates(from, { host: host.name, date: clock.date() })
  const { opened, signer } = openAsEither(part, host, certificates)
  const { text, digest } = opened
  return { message: readMessage(text), digest, form: 'sealed', fingerprint: signer.fingerprint }
}

/** During a rollover either side has two certificates. @throws PlexusError as for the first if none fits */
function openAsEither(
  part: string,
  host: Host,
  [first, ...others]: readonly [Certificate, ...Certificate[]],
): { opened: Opened; signer: Certificate } {
  const tries = [host, ...(host.next ? [host.next] : [])].flatMap((own) =>
    [first, ...others].map((signer) => () => ({ opened: openEntity(part, own, signer), signer })),
  )
  let failure: unknown
  for (const attempt of tries) {
    try {
      return attempt()
    } catch (thrown) {
      failure ??= thrown
    }
  }
  throw failure
}
