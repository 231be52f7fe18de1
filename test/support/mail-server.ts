import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  dovecotConf,
  identity,
  type MailFormat,
  type MailSettings,
  mainCf,
  masterCf,
  NOBODY,
} from './mail-settings.js'

/** Why mail servers cannot be started here, if they cannot. */
export function mailServerMissing(): string | false {
  if (process.getuid?.() !== 0) return 'Postfix needs root'
  const missing = ['/usr/sbin/postfix', '/usr/sbin/dovecot', '/usr/bin/openssl'].filter(
    (file) => !existsSync(file),
  )
  return missing.length > 0 ? `${missing.join(' and ')} missing` : false
}

/** How long a server may take to listen, in ms. */
const START = 20_000

/** Where the servers run, and what is not as usual with them. */
export interface MailServerOptions {
  /** Where they are started, if not here, and the address that they listen at, with the usual ports. */
  readonly at?: {
    readonly address: string
    spawn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess
  }
  readonly format?: MailFormat
  /** More lines of dovecot.conf and of main.cf. */
  readonly dovecot?: string
  readonly postfix?: readonly string[]
  /** More lines of master.cf. */
  readonly services?: readonly string[]
}

/**
 * A Postfix and a stock Dovecot of their own in a temporary directory, on loopback ports, with certificates of an own
 * authority for `localhost`. Every user's password is `secret`; mail for anybody at example.com arrives in a Maildir.
 */
export class MailServer {
  readonly directory: string
  readonly users: readonly string[]
  /** The ports: implicit TLS, then STARTTLS. */
  ports = { smtps: 465, submission: 587, imaps: 993, imap: 143 }
  readonly address: string
  #options: MailServerOptions
  #postfix: ChildProcess | undefined
  #dovecot: ChildProcess | undefined

  private constructor(users: readonly string[], options: MailServerOptions) {
    this.#options = options
    this.address = options.at?.address ?? '127.0.0.1'
    this.directory = mkdtempSync(join(tmpdir(), 'plexus-mail-'))
    this.users = users
  }

  /** Starts both. @param users addresses at example.com */
  static async start(users: readonly string[], options: MailServerOptions = {}): Promise<MailServer> {
    const server = new MailServer(users, options)
    try {
      if (!options.at) {
        const [smtps, submission, imaps, imap] = await freePorts(4)
        server.ports = { smtps, submission, imaps, imap } as MailServer['ports']
      }
      chmodSync(server.directory, 0o755)
      server.#certificates()
      mkdirSync(join(server.directory, 'mail'))
      chownSync(join(server.directory, 'mail'), NOBODY, NOBODY)
      server.#configureDovecot()
      server.#configurePostfix()
      await server.startDovecot()
      await server.startPostfix()
      return server
    } catch (thrown) {
      await server.stop()
      throw thrown
    }
  }

  /** A name that is in their certificate. */
  get host(): string {
    return this.#options.at ? this.address : 'localhost'
  }

  /** The options of servers in a namespace, at its address; nobody there tells names by addresses. */
  static inside(
    machine: Pick<NonNullable<MailServerOptions['at']>, 'spawn'>,
    address = '',
    more: MailServerOptions = {},
  ): MailServerOptions {
    const spawn = machine.spawn.bind(machine)
    const postfix = ['smtpd_peername_lookup = no', ...(more.postfix ?? [])]
    return { ...more, at: { address, spawn }, postfix }
  }

  get ca(): string {
    return join(this.directory, 'ca.pem')
  }

  /** The options of the rendezvous for a user. */
  options(
    user: string,
    changes: Readonly<Record<string, string | undefined>> = {},
  ): Record<string, string | undefined> {
    return {
      'email-smtps': `${this.host}:${this.ports.smtps}`,
      'email-imaps': `${this.host}:${this.ports.imaps}`,
      'email-login': user,
      'email-password': 'secret',
      'email-ca': this.ca,
      ...changes,
    }
  }

  /** The flags of the program for a user, with the password in a file. */
  flags(user: string, changes: Parameters<MailServer['options']>[1] = {}): string[] {
    const password = this.#conf('password')
    // once: a program that runs may read it at any moment
    if (!existsSync(password)) writeFileSync(password, 'secret\n', { mode: 0o600 })
    const options = this.options(user, {
      'email-password': undefined,
      'email-password-file': password,
      ...changes,
    })
    return Object.entries(options).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name}=${value}`],
    )
  }

  /** The files of a user's mail: one for each message of a folder, INBOX by default. */
  mails(user: string, folder = ''): string[] {
    return ['new', 'cur'].flatMap((kind) => {
      const path = join(this.maildir(user), folder && `.${folder}`, kind)
      return existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : []
    })
  }

  maildir(user: string): string {
    return join(this.directory, 'mail', user)
  }

  /** Puts a mail into a folder as a delivery or another client would. */
  append(user: string, folder: string, text: string, settings: readonly string[] = []): void {
    const { status, stderr } = spawnSync(
      '/usr/bin/doveadm',
      ['-c', this.#conf('dovecot.conf'), ...settings, 'save', '-u', user, '-m', folder],
      {
        input: text,
        encoding: 'utf8',
      },
    )
    if (status !== 0) throw new Error(`doveadm: ${stderr}`)
  }

  /** Runs doveadm for the server, and gives what it prints. */
  doveadm(...args: readonly string[]): string {
    return execFileSync('/usr/bin/doveadm', ['-c', this.#conf('dovecot.conf'), ...args], {
      encoding: 'utf8',
      maxBuffer: 64 << 20, // a line for each of many mails
    })
  }

  /** Cuts every IMAP connection of a user. */
  kick(user: string): void {
    execFileSync('/usr/bin/doveadm', ['-c', this.#conf('dovecot.conf'), 'kick', user], { stdio: 'ignore' })
  }

  async startDovecot(): Promise<void> {
    this.#dovecot = this.#spawn('/usr/sbin/dovecot', ['-F', '-c', this.#conf('dovecot.conf')])
    await listening(this.ports.imaps, this.#dovecot)
  }

  async stopDovecot(): Promise<void> {
    await ended(this.#dovecot)
  }

  async startPostfix(): Promise<void> {
    this.#postfix = this.#spawn('/usr/sbin/postfix', ['-c', this.#conf('postfix'), 'start-fg'])
    await listening(this.ports.smtps, this.#postfix)
  }

  /** The script that was started waits for the master, which it does not pass signals on to. */
  async stopPostfix(): Promise<void> {
    if (!this.#postfix || this.#postfix.exitCode !== null || this.#postfix.signalCode !== null) return
    const gone = once(this.#postfix, 'exit')
    process.kill(this.#master)
    await gone
  }

  /** Starts both again with other lines in their configuration. */
  async reconfigure({
    dovecot = '',
    postfix = [],
  }: Pick<MailServerOptions, 'dovecot' | 'postfix'>): Promise<void> {
    this.#options = { ...this.#options, dovecot, postfix }
    await Promise.all([this.stopDovecot(), this.stopPostfix()])
    this.#configureDovecot()
    this.#configurePostfix()
    await Promise.all([this.startDovecot(), this.startPostfix()])
  }

  /** Makes Postfix answer 451 to every recipient, or no longer. */
  async defer(on: boolean): Promise<void> {
    await this.stopPostfix() // after a reload the next mail might still meet the old rules
    this.#configurePostfix(
      on ? ['smtpd_recipient_restrictions = check_recipient_access static:{451 4.3.0 later}'] : [],
    )
    await this.startPostfix()
  }

  async stop(): Promise<void> {
    await Promise.all([this.stopPostfix(), this.stopDovecot()])
    rmSync(this.directory, { recursive: true, force: true })
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    const options: SpawnOptions = { stdio: 'ignore' }
    return this.#options.at?.spawn(command, args, options) ?? spawn(command, args, options)
  }

  /** The process id of Postfix's master. */
  get #master(): number {
    return Number(readFileSync(this.#conf('queue/pid/master.pid'), 'utf8'))
  }

  #conf(name: string): string {
    return join(this.directory, name)
  }

  #certificates(): void {
    const openssl = (...args: string[]) =>
      execFileSync('/usr/bin/openssl', args, { cwd: this.directory, stdio: 'ignore' })
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc']
    openssl(
      'req',
      '-x509',
      ...fresh,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-subj',
      '/CN=mail authority',
      '-days',
      '2',
    )
    openssl('req', ...fresh, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost')
    writeFileSync(this.#conf('san'), `subjectAltName=DNS:localhost,DNS:mail.example.com,IP:${this.address}\n`)
    const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san']
    openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.pem', ...signing)
    openssl('req', ...fresh, '-keyout', 'client.key', '-out', 'client.csr', '-subj', '/CN=client')
    openssl('x509', '-req', '-in', 'client.csr', '-out', 'client.pem', ...signing.slice(0, -2))
    chmodSync(this.#conf('server.key'), 0o644) // whoever delivers for Dovecot reads its configuration whole
  }

  #settings(postfix: readonly string[] = this.#options.postfix ?? []): MailSettings {
    const { directory, users, address, ports } = this
    const { format = 'maildir', dovecot = '', services = [] } = this.#options
    return { directory, users, address, ports, format, dovecot, postfix, services }
  }

  #configureDovecot(): void {
    writeFileSync(this.#conf('users'), this.users.map((user) => `${user}:{PLAIN}secret\n`).join(''))
    writeFileSync(this.#conf('dovecot.conf'), dovecotConf(this.#settings()))
    writeFileSync(this.#conf('dovecot.log'), '', { flag: 'a' })
    chmodSync(this.#conf('dovecot.log'), 0o666) // whoever delivers writes to it too
  }

  #configurePostfix(more?: readonly string[]): void {
    for (const name of ['postfix', 'queue', 'data']) mkdirSync(this.#conf(name), { recursive: true })
    const { uid, gid } = identity('postfix')
    chownSync(this.#conf('data'), uid, gid)
    const settings = this.#settings(more && [...(this.#options.postfix ?? []), ...more])
    writeFileSync(this.#conf('postfix/mailboxes'), this.users.map((user) => `${user} ${user}/\n`).join(''))
    writeFileSync(this.#conf('postfix/main.cf'), mainCf(settings))
    writeFileSync(this.#conf('postfix/master.cf'), masterCf(settings))
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Resolves when something listens at a port where the process runs; rejects if it has ended. */
export async function listening(port: number, child: ChildProcess): Promise<void> {
  const until = Date.now() + START
  const wanted = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} [0-9A-F]+:0000 0A `)
  for (;;) {
    if (existsSync(`/proc/${child.pid}/net/tcp`)) {
      if (wanted.test(readFileSync(`/proc/${child.pid}/net/tcp`, 'latin1'))) return
    }
    if (child.exitCode !== null || Date.now() > until) throw new Error(`${child.spawnfile} does not listen`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  await gone
}
