import type SMTPConnection from 'nodemailer/lib/smtp-connection/index.js'
import type { Credentials } from 'nodemailer/lib/smtp-connection/index.js'
import { PlexusError } from '../../src/errors/index.js'
import { deadline } from '../../src/net/index.js'
import type { RendezvousContext } from '../interface.js'
import { abortable } from '../scope.js'
import type { Account } from './account.js'
import { Backoff } from './backoff.js'
import type { Secret } from './credential.js'
import { faultOf } from './fault.js'
import type { Mail } from './message.js'

/** How long a server may take for one mail, in ms: RFC 5321 allows minutes, but nobody waits so long for a pairing. */
const ATTEMPT = 30_000
/** Pauses between attempts that may yet succeed, in ms. */
const RETRY = { first: 1000, last: 5000 }

/** What a server is waited for, for a person. */
type Step = 'the connection' | 'the login' | 'the mail'

/** Hands mail in, each over a connection of its own. */
export class Submission {
  readonly #account: Account
  readonly #context: RendezvousContext

  constructor(account: Account, context: RendezvousContext) {
    this.#account = account
    this.#context = context
  }

  /**
   * Hands a mail in, and tries again for as long as it may yet succeed.
   * @throws PlexusError EMAIL_LOGIN, EMAIL_CERTIFICATE or RENDEZVOUS_FOREIGN; once the signal has aborted
   *   RENDEZVOUS_UNREACHABLE with the server's last words, or the signal's reason if it had none
   */
  async send(mail: Mail, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#context
    const backoff = new Backoff(clock, random, RETRY)
    let last: PlexusError | undefined
    for (;;) {
      try {
        return await this.#attempt(mail, signal)
      } catch (thrown) {
        if (signal.aborted) throw last ?? signal.reason
        last = faultOf(thrown, this.#account.submission, 'submit')
        if (last.kind !== 'later') throw last
        log.debug({ code: last.code }, `sending failed, retrying: ${last.message}`)
      }
      await backoff.wait(signal).catch(() => {
        throw last ?? signal.reason
      })
    }
  }

  async #attempt(mail: Mail, signal: AbortSignal): Promise<void> {
    const { submission, login, credential, trust } = this.#account
    const { host, port } = submission
    let step: Step = 'the connection'
    const limit = deadline(this.#context.clock, ATTEMPT, signal, () => {
      const what = `${host}:${port} has not answered ${step} in ${ATTEMPT / 1000} s.`
      return new PlexusError('RENDEZVOUS_UNREACHABLE', what)
    })
    // kept out of what starts the program: most meet over something else
    const [{ default: Connection }, secret] = await Promise.all([
      import('nodemailer/lib/smtp-connection/index.js'),
      credential.get(limit.signal),
    ]).catch((thrown: unknown) => {
      limit.dispose()
      throw thrown
    })
    const connection = new Connection({
      host: submission.host,
      port: submission.port,
      secure: submission.tls === 'implicit',
      requireTLS: true,
      tls: { secureContext: trust.context(), rejectUnauthorized: true },
      connectionTimeout: ATTEMPT,
      logger: false,
    })
    try {
      const begins = (next: Step) => {
        step = next
      }
      await abortable(handIn(connection, mail, login, secret, begins), limit.signal)
      connection.quit()
    } catch (thrown) {
      connection.close()
      throw thrown
    } finally {
      limit.dispose()
    }
  }
}

async function handIn(
  connection: SMTPConnection,
  { from, to, text }: Mail,
  login: string,
  secret: Secret,
  begins: (step: Step) => void,
): Promise<void> {
  const broken = new Promise<never>((_, reject) => {
    connection.on('error', reject) // stays: a connection that is given up may still break
  })
  broken.catch(() => {})
  const step = (run: (done: (error?: Error | null) => void) => void) =>
    Promise.race([
      broken,
      new Promise<void>((resolve, fail) => run((error) => (error ? fail(error) : resolve()))),
    ])
  await step((done) => connection.connect(done))
  begins('the login')
  await step((done) => connection.login(authentication(login, secret), done))
  begins('the mail')
  await step((done) => connection.send({ from, to }, text, done))
}

/** What nodemailer logs in with: its OAuth 2 client is not needed for a token that is here already. */
function authentication(user: string, secret: Secret): Parameters<SMTPConnection['login']>[0] {
  if (secret.is === 'password') return { credentials: { user, pass: secret.value } as Credentials }
  const oauth2 = {
    getToken: (_renew: boolean, done: (error: null, token: string) => void) => done(null, secret.value),
    buildXOAuth2Token: (token: string) =>
      Buffer.from(`user=${user}\x01auth=Bearer ${token}\x01\x01`).toString('base64'),
  }
  return { user, oauth2 } as unknown as Parameters<SMTPConnection['login']>[0]
}
