import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { MailServer, mailServerMissing } from './mail-server.js'
import { Plexus3Peer, plexus3PeerMissing } from './plexus3-peer.js'
import { Program } from './program.js'

/** The own identity of the program in these tests, and the plexus 3.x peer's. */
export const OURS = 'bob@example.com/server'
export const THEIRS = 'alice@example.com/laptop'

/** Why this cannot be played here, if it cannot. */
export function stageMissing(): string | false {
  return mailServerMissing() || plexus3PeerMissing()
}

/** A mail server, a STUN server and a repository with RSA keys, for the program and a plexus-3 peer. */
export class Plexus3Stage {
  readonly mail: MailServer
  readonly stun: StunServer
  readonly directory: string

  private constructor(mail: MailServer, stun: StunServer, directory: string) {
    this.mail = mail
    this.stun = stun
    this.directory = directory
  }

  /** @param names of further identities, with EC keys: they speak native alone */
  static async open(names: readonly string[] = []): Promise<Plexus3Stage> {
    const directory = mkdtempSync(join(tmpdir(), 'plexus-dialect-'))
    const all = [OURS, THEIRS, ...names].map(parseIdentity)
    const making = { random: systemRandom, date: systemClock.date() }
    for (const [index, name] of all.entries()) {
      await createIdentity(join(directory, 'repo'), name, { ...making, key: index < 2 ? 'rsa' : 'ec' })
    }
    const mail = await MailServer.start([...new Set(all.map(({ owner }) => owner))])
    const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    return new Plexus3Stage(mail, stun, directory)
  }

  get repository(): string {
    return join(this.directory, 'repo')
  }

  /** The flags of the program: as a host, with a state of its own for each name that is given to it. */
  words(host = OURS, state = 'state'): string[] {
    const [endpoint] = this.stun.endpoints
    const { 'email-password': _, ...options } = this.mail.options(parseIdentity(host).owner)
    return [
      `--app-repo=${this.repository}`,
      `--state-dir=${join(this.directory, state)}`,
      `--host-info=${host}`,
      `--stun-server=${endpoint ? formatEndpoint(endpoint) : ''}`,
      '--rendezvous=email:',
      ...Object.entries(options).flatMap(([name, value]) =>
        value === undefined ? [] : [`--${name}=${value}`],
      ),
    ]
  }

  /** Starts the program. */
  program(more: readonly string[], host = OURS, state = 'state'): Program {
    return new Program([...this.words(host, state), ...more], {
      env: { PLEXUS_OPT_EMAIL_PASSWORD: 'secret' },
    })
  }

  /** Starts an accepter, and waits until invites can come. */
  async accepter(more: readonly string[], state = 'state'): Promise<Program> {
    const accepter = this.program(['--accept', ...more], OURS, state)
    await accepter.said(/ready for invites/)
    return accepter
  }

  /** Starts the plexus-3 peer, which speaks through the mail server. */
  peer(role: 'inviter' | 'accepter', more: readonly string[] = []): Plexus3Peer {
    const { smtps, imaps } = this.mail.ports
    const words = [
      ...['--repo', this.repository, '--me', THEIRS, '--peer', OURS, '--bind', '127.0.0.1:0'],
      ...['--smtp', `localhost:${smtps}`, '--imap', `localhost:${imaps}`, '--ca', this.mail.ca],
      ...['--login', parseIdentity(THEIRS).owner, '--password-env', 'MAIL_PASSWORD'],
    ]
    return new Plexus3Peer(role, [...words, ...more], { MAIL_PASSWORD: 'secret' })
  }

  async close(): Promise<void> {
    await this.stun.close()
    await this.mail.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
