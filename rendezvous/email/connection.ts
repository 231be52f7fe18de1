import type { FetchMessageObject, FetchQueryObject, ImapFlow } from 'imapflow'
import { PlexusError } from '../../src/errors/index.js'
import { type Clock, deadline } from '../../src/net/index.js'
import { abortable } from '../scope.js'
import type { Account, Server } from './account.js'
import { faultOf, type Stage } from './fault.js'
import { tolerant } from './namespace.js'

/** How long a server may take to let us in, in ms, and for any command after that. */
const CONNECT = 20_000
const COMMAND = 30_000
/** IDLE is begun anew after this long, in ms: some servers and NATs forget what is silent for ten minutes. */
const IDLE = 9 * 60_000

/** A connection to the mailbox, in which every step has a deadline of its own: the library waits for ever for some. */
export class Connection {
  readonly client: ImapFlow
  readonly #server: Server
  readonly #clock: Clock

  private constructor(client: ImapFlow, server: Server, clock: Clock) {
    this.client = client
    this.#server = server
    this.#clock = clock
  }

  /**
   * Logs in at the mailbox's server. The caller closes what it gets. `closed` runs when it is lost.
   * @throws PlexusError EMAIL_LOGIN, EMAIL_CERTIFICATE, RENDEZVOUS_UNREACHABLE, or the signal's reason
   */
  static async open(
    account: Account,
    clock: Clock,
    signal: AbortSignal,
    closed: () => void,
  ): Promise<Connection> {
    const { mailbox, login, credential, trust } = account
    // kept out of what starts the program: most meet over something else
    const [{ ImapFlow }, secret] = await Promise.all([import('imapflow'), credential.get(signal)])
    const client = tolerant(
      new ImapFlow({
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
        socketTimeout: COMMAND * 2,
      }),
    )
    client.on('error', () => client.close())
    client.on('close', closed)
    const connection = new Connection(client, mailbox, clock)
    try {
      await connection.#within('the login', CONNECT, 'connect', client.connect(), signal)
      return connection
    } catch (thrown) {
      client.close()
      signal.throwIfAborted()
      throw thrown
    }
  }

  /**
   * Waits for a step of the library.
   * @param what for a person, as in `the login`
   * @throws PlexusError what the server's answer means, or RENDEZVOUS_UNREACHABLE if there is none: the connection is closed then
   */
  within<T>(what: string, step: Promise<T>, stage: Stage = 'use', folder = ''): Promise<T> {
    return this.#within(what, COMMAND, stage, step, undefined, folder)
  }

  async #within<T>(
    what: string,
    ms: number,
    stage: Stage,
    step: Promise<T>,
    signal?: AbortSignal,
    folder = '',
  ): Promise<T> {
    const { host, port } = this.#server
    const limit = deadline(
      this.#clock,
      ms,
      signal,
      () =>
        new PlexusError(
          'RENDEZVOUS_UNREACHABLE',
          `${host}:${port} has not answered ${what} in ${ms / 1000} s.`,
        ),
    )
    try {
      return await abortable(step, limit.signal)
    } catch (thrown) {
      if (limit.signal.aborted) this.client.close()
      throw faultOf(thrown, this.#server, stage, folder)
    } finally {
      limit.dispose()
    }
  }

  /** Selects a folder. @throws PlexusError BAD_FLAG if there is none of that name, RENDEZVOUS_UNREACHABLE if it cannot be opened now */
  async select(path: string): Promise<void> {
    await this.within(`the opening of '${path}'`, this.client.mailboxOpen(path), 'folder', path)
  }

  /**
   * What is known of mails of the selected folder. Ending means that it was all: imapflow by itself ends also when the folder is closed.
   * @param range of UIDs, or of sequence numbers with `uid: false`
   * @throws PlexusError RENDEZVOUS_UNREACHABLE
   */
  async *fetch(
    range: string,
    query: FetchQueryObject,
    { uid }: { uid: boolean } = { uid: true },
  ): AsyncGenerator<Row> {
    const { client } = this
    if (client.mailbox && client.mailbox.exists === 0) return // to some servers no range fits an empty folder
    const rows = client.fetch(range, query, { uid })[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await this.within('a FETCH', rows.next())
        if (next.done) break
        yield next.value
      }
    } finally {
      // one that hangs is ended by its connection
      void rows.return?.(undefined).then(
        () => {},
        () => {},
      )
    }
    if (!client.usable || !client.mailbox)
      throw new PlexusError('RENDEZVOUS_UNREACHABLE', 'The connection to the mailbox was lost.')
  }

  /** Deletes mails of the selected folder, and no other that somebody has marked. @param range of UIDs */
  async remove(range: string): Promise<void> {
    const { client } = this
    // without UID EXPUNGE (RFC 4315) an EXPUNGE would take what others have marked
    await this.within(
      'a STORE',
      client.capabilities.has('UIDPLUS')
        ? client.messageDelete(range, { uid: true })
        : client.messageFlagsAdd(range, ['\\Deleted'], { uid: true }),
    )
  }
}

/** Any part of a mail may be missing: what others do to a mail is told in between, often without its UID (RFC 9051, 7.5.2). */
export type Row = Partial<
  Pick<FetchMessageObject, 'uid' | 'headers' | 'source' | 'internalDate' | 'size' | 'bodyParts'>
>
