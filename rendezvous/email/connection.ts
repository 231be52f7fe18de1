import type { FetchMessageObject, FetchQueryObject, ImapFlow } from 'imapflow'
import { PlexusError } from '../../src/errors/index.js'
import { abortable } from '../scope.js'
import type { Account } from './account.js'
import { faultOf } from './fault.js'

/** How long a server may take to let us in, in ms, and for any command after that. */
const CONNECT = 20_000
const COMMAND = 60_000
/** IDLE is begun anew after this long, in ms: some servers and NATs forget what is silent for ten minutes. */
const IDLE = 9 * 60_000

/**
 * Logs in at the mailbox's server. The caller closes what it gets. `closed` runs when it is lost.
 * @throws PlexusError EMAIL_LOGIN, EMAIL_CERTIFICATE, RENDEZVOUS_UNREACHABLE, or the signal's reason
 */
export async function connect(account: Account, signal: AbortSignal, closed: () => void): Promise<ImapFlow> {
  const { mailbox, login, credential, trust } = account
  // kept out of what starts the program: most meet over something else
  const [{ ImapFlow }, secret] = await Promise.all([import('imapflow'), credential.get(signal)])
  const client = new ImapFlow({
    host: mailbox.host,
    port: mailbox.port,
    secure: mailbox.tls === 'implicit',
    ...(mailbox.tls === 'starttls' ? { doSTARTTLS: true } : {}),
    auth: {
      user: login,
      ...(secret.is === 'password' ? { pass: secret.value } : { accessToken: secret.value }),
    },
    tls: { secureContext: trust.context(), rejectUnauthorized: true },
    logger: false,
    disableAutoIdle: true,
    maxIdleTime: IDLE,
    connectionTimeout: CONNECT,
    greetingTimeout: CONNECT,
    socketTimeout: COMMAND,
  })
  client.on('error', () => client.close())
  client.on('close', closed)
  try {
    await abortable(client.connect(), signal)
    return client
  } catch (thrown) {
    client.close()
    signal.throwIfAborted()
    throw faultOf(thrown, mailbox)
  }
}

/** Selects a folder. @throws PlexusError BAD_FLAG if there is none of that name */
export async function select(client: ImapFlow, path: string): Promise<void> {
  await client.mailboxOpen(path).catch((thrown: { responseStatus?: unknown }) => {
    if (thrown.responseStatus !== 'NO') throw thrown
    throw new PlexusError('BAD_FLAG', `The mail server has no folder '${path}' that can be opened.`, {
      advice: 'Check --email-folder.',
    })
  })
}

/** Any part of a mail may be missing: what others do to a mail is told in between, often without its UID (RFC 9051, 7.5.2). */
export type Row = Partial<
  Pick<FetchMessageObject, 'uid' | 'headers' | 'source' | 'internalDate' | 'size' | 'bodyParts'>
>

/**
 * What is known of mails of the selected folder. Ending means that it was all: imapflow by itself ends also when the folder is closed.
 * @param range of UIDs, or of sequence numbers with `uid: false`
 * @throws PlexusError RENDEZVOUS_UNREACHABLE, or imapflow's error
 */
export async function* fetchRows(
  client: ImapFlow,
  range: string,
  query: FetchQueryObject,
  { uid }: { uid: boolean } = { uid: true },
): AsyncGenerator<Row> {
  yield* client.fetch(range, query, { uid })
  if (!client.usable || !client.mailbox)
    throw new PlexusError('RENDEZVOUS_UNREACHABLE', 'The connection to the mailbox was lost.')
}
