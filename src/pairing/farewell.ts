import type { Mailbox, Rendezvous } from '../../rendezvous/interface.js'
import { PlexusError } from '../errors/index.js'
import type { Certificate, IdentityName } from '../identity/index.js'
import { deadline } from '../net/index.js'
import type { PairingContext } from './context.js'
import { Correspondence } from './correspondence.js'
import type { Abort, Refusal } from './message.js'

/**
 * How long a side that gives up goes on trying to say so through the rendezvous, in ms. A program that ends waits for it,
 * and a person for the program: a message takes a second at most where the rendezvous works at all.
 */
export const FAREWELL = 2000

/** What is still being said, by the rendezvous that carries it. */
const underway = new WeakMap<Rendezvous, Set<Promise<void>>>()

/** Resolves when nothing is being said any more: wait for it before a rendezvous is closed. FAREWELL at most. */
export async function lastWords(rendezvous: Rendezvous): Promise<void> {
  await Promise.all(underway.get(rendezvous) ?? [])
}

/** Whom to tell, and where. */
export interface Addressee {
  readonly peer: IdentityName
  /** The peer's, of an accepter two during a rollover. */
  readonly certificates: readonly [Certificate, ...Certificate[]]
  /** Where the peer waits in this session; an accepter waits in the mailboxes of its certificates. */
  readonly mailbox?: Mailbox
  readonly session: string
}

/** Tells the peer, as far as it can be reached, that this side has given up and why. Never rejects. */
export function sayFarewell(context: PairingContext, to: Addressee, error: PlexusError): Promise<void> {
  const { rendezvous } = context
  const saying = underway.get(rendezvous) ?? new Set()
  underway.set(rendezvous, saying)
  const done = say(context, to, error).finally(() => saying.delete(done))
  saying.add(done)
  return done
}

async function say(context: PairingContext, to: Addressee, error: PlexusError): Promise<void> {
  const { clock, log } = context
  const mail = new Correspondence(context)
  const limit = deadline(clock, FAREWELL)
  try {
    const { code, message } = error
    const abort: Abort = { ...mail.header(to.peer, to.session), kind: 'abort', code, sentence: message }
    if (to.mailbox === undefined) {
      await mail.postToAccepter(to.peer, await mail.mailing(abort, to.certificates), abort, limit.signal)
    } else {
      const { sealed } = await mail.seal(abort, to.certificates[0])
      await mail.post(to.mailbox, sealed, abort, limit.signal)
    }
  } catch (thrown) {
    log.debug({ err: thrown }, 'the peer could not be told that the pairing failed')
  } finally {
    limit.dispose()
  }
}

const said = new WeakSet<PlexusError>()

/** Whether the failure is one that the peer told of: it need not be told. */
export function isFromPeer(error: PlexusError): boolean {
  return error.code === 'PEER_ABORTED' || said.has(error)
}

/** What the peer said when it would not pair or gave up, as this side's own failure. */
export function peerFailure(peer: string, message: Refusal | Abort): PlexusError {
  const error = translated(peer, message)
  said.add(error)
  return error
}

function translated(peer: string, { kind, code, sentence }: Refusal | Abort): PlexusError {
  const what = `${peer} ${kind === 'refusal' ? 'refused' : 'gave up'}: ${sentence}`
  switch (code) {
    case 'NO_PATH':
      return new PlexusError('NO_PATH', what)
    case 'UDP_BLOCKED':
      return new PlexusError('PEER_ABORTED', what, {
        advice: 'The network of the peer must allow UDP.',
      })
    case 'COMMAND_MISSING':
    case 'EXEC_PWD':
    case 'EXEC_LOG':
      return new PlexusError('PEER_COMMAND', what)
    case 'APPLICATION':
    case 'CLOCK':
    case 'BUSY':
    case 'REFUSED':
      if (kind === 'refusal') return new PlexusError(code, what)
  }
  return new PlexusError('PEER_ABORTED', what)
}
