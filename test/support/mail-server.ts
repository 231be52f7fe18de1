import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why mail servers cannot be started here, if they cannot. */
export function mailServerMissing(): string | false {
  if (process.getuid?.() !== 0) return 'Postfix needs root'
  const missing = ['/usr/sbin/postfix', '/usr/sbin/dovecot', '/usr/bin/openssl'].filter(
    (file) => !existsSync(file),
  )
  return missing.length > 0 ? `${missing.join(' and ')} missing` : false
}

/** Whom mail belongs to on disk. */
const NOBODY = 65_534
/** How long a server may take to listen, in ms. */
const START = 20_000

/**
 * A Postfix and a stock Dovecot of their own in a temporary directory, on loopback ports, with certificates of an own
 * authority for `localhost`. Every user's password is `secret`; mail for anybody at example.com arrives in a Maildir.
 */
export class MailServer {
  readonly directory: string
  readonly users: readonly string[]
  /** The ports: implicit TLS, then STARTTLS. */
  ports = { smtps: 0, submission: 0, imaps: 0, imap: 0 }
  #postfix: ChildProcess | undefined
  #dovecot: ChildProcess | undefined

  private constructor(users: readonly string[]) {
    this.directory = mkdtempSync(join(tmpdir(), 'plexus-mail-'))
    this.users = users
  }

  /** Starts both. @param users addresses at example.com */
  static async start(users: readonly string[]): Promise<MailServer> {
    const server = new MailServer(users)
    try {
      const [smtps, submission, imaps, imap] = await freePorts(4)
      server.ports = { smtps, submission, imaps, imap } as MailServer['ports']
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

  get ca(): string {
    return join(this.directory, 'ca.pem')
  }

  /** The options of the rendezvous for a user. */
  options(
    user: string,
    changes: Readonly<Record<string, string | undefined>> = {},
  ): Record<string, string | undefined> {
    return {
      'email-smtps': `localhost:${this.ports.smtps}`,
      'email-imaps': `localhost:${this.ports.imaps}`,
      'email-login': user,
      'email-password': 'secret',
      'email-ca': this.ca,
      ...changes,
    }
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
  append(user: string, folder: string, text: string): void {
    const { status, stderr } = spawnSync(
      '/usr/bin/doveadm',
      ['-c', this.#conf('dovecot.conf'), 'save', '-u', user, '-m', folder],
      {
        input: text,
        encoding: 'utf8',
      },
    )
    if (status !== 0) throw new Error(`doveadm: ${stderr}`)
  }

  /** Cuts every IMAP connection of a user. */
  kick(user: string): void {
    execFileSync('/usr/bin/doveadm', ['-c', this.#conf('dovecot.conf'), 'kick', user], { stdio: 'ignore' })
  }

  async startDovecot(): Promise<void> {
    this.#dovecot = spawn('/usr/sbin/dovecot', ['-F', '-c', this.#conf('dovecot.conf')], { stdio: 'ignore' })
    await listening(this.ports.imaps, this.#dovecot)
  }

  async stopDovecot(): Promise<void> {
    await ended(this.#dovecot)
  }

  async startPostfix(): Promise<void> {
    this.#postfix = spawn('/usr/sbin/postfix', ['-c', join(this.directory, 'postfix'), 'start-fg'], {
      stdio: 'ignore',
    })
    await listening(this.ports.smtps, this.#postfix)
  }

  async stopPostfix(): Promise<void> {
    await ended(this.#postfix)
  }

  /** Makes Postfix answer 451 to every recipient, or no longer. */
  defer(on: boolean): void {
    this.#configurePostfix(
      on ? ['smtpd_recipient_restrictions = check_recipient_access static:{451 4.3.0 later}'] : [],
    )
    execFileSync('/usr/sbin/postfix', ['-c', join(this.directory, 'postfix'), 'reload'], { stdio: 'ignore' })
  }

  async stop(): Promise<void> {
    await Promise.all([this.stopPostfix(), this.stopDovecot()])
    rmSync(this.directory, { recursive: true, force: true })
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
    writeFileSync(this.#conf('san'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san']
    openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.pem', ...signing)
  }

  #configureDovecot(): void {
    const { imaps, imap } = this.ports
    writeFileSync(this.#conf('users'), this.users.map((user) => `${user}:{PLAIN}secret\n`).join(''))
    const box = (name: string) => `mailbox ${name} {\n auto = create\n special_use = \\${name}\n }`
    writeFileSync(
      this.#conf('dovecot.conf'),
      `base_dir = ${this.directory}/run
state_dir = ${this.directory}/run
log_path = ${this.directory}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <${this.directory}/server.pem
ssl_key = <${this.directory}/server.key
first_valid_uid = 1
mail_location = maildir:${this.directory}/mail/%u
mail_max_userip_connections = 100
auth_failure_delay = 0
passdb {
 driver = passwd-file
 args = ${this.directory}/users
}
userdb {
 driver = static
 args = uid=${NOBODY} gid=${NOBODY} home=${this.directory}/mail/%u
}
namespace inbox {
 inbox = yes
 separator = .
 ${['Junk', 'Sent', 'Trash'].map(box).join('\n ')}
}
service imap-login {
 chroot =
 inet_listener imap {
  port = ${imap}
 }
 inet_listener imaps {
  port = ${imaps}
  ssl = yes
 }
}
service auth {
 unix_listener ${this.directory}/auth {
  mode = 0666
 }
}
`,
    )
  }

  #configurePostfix(more: readonly string[] = []): void {
    const { smtps, submission } = this.ports
    const path = join(this.directory, 'postfix')
    const queue = join(this.directory, 'queue')
    const data = join(this.directory, 'data')
    for (const each of [path, queue, data]) mkdirSync(each, { recursive: true })
    const { uid, gid } = identity('postfix')
    chownSync(data, uid, gid)
    writeFileSync(join(path, 'mailboxes'), this.users.map((user) => `${user} ${user}/\n`).join(''))
    writeFileSync(
      join(path, 'main.cf'),
      [
        'compatibility_level = 3.6',
        `queue_directory = ${queue}`,
        `data_directory = ${data}`,
        'inet_interfaces = loopback-only',
        'inet_protocols = ipv4',
        'myhostname = mail.example.com',
        'mydestination =',
        'mynetworks =',
        'alias_maps =',
        'local_recipient_maps =',
        'virtual_mailbox_domains = example.com',
        `virtual_mailbox_maps = texthash:${path}/mailboxes`,
        `virtual_mailbox_base = ${this.directory}/mail`,
        `virtual_uid_maps = static:${NOBODY}`,
        `virtual_gid_maps = static:${NOBODY}`,
        'virtual_minimum_uid = 1',
        'smtpd_sasl_auth_enable = yes',
        'smtpd_sasl_type = dovecot',
        `smtpd_sasl_path = ${this.directory}/auth`,
        'smtpd_tls_auth_only = yes',
        'smtpd_tls_security_level = may',
        `smtpd_tls_cert_file = ${this.directory}/server.pem`,
        `smtpd_tls_key_file = ${this.directory}/server.key`,
        'smtpd_relay_restrictions = permit_sasl_authenticated, reject',
        `maillog_file = ${this.directory}/postfix.log`,
        `maillog_file_prefixes = ${this.directory}`,
        ...more,
        '',
      ].join('\n'),
    )
    writeFileSync(
      join(path, 'master.cf'),
      [
        `127.0.0.1:${smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes`,
        `127.0.0.1:${submission} inet n - n - - smtpd`,
        ...['pickup unix n - n 60 1 pickup', 'cleanup unix n - n - 0 cleanup', 'qmgr unix n - n 300 1 qmgr'],
        'tlsmgr unix - - n 1000? 1 tlsmgr',
        ...['rewrite', 'proxymap', 'anvil', 'scache'].map((name) =>
          name === 'rewrite' ? 'rewrite unix - - n - - trivial-rewrite' : `${name} unix - - n - 1 ${name}`,
        ),
        ...['bounce', 'defer', 'trace'].map((name) => `${name} unix - - n - 0 bounce`),
        ...[
          'verify unix - - n - 1 verify',
          'flush unix n - n 1000? 0 flush',
          'proxywrite unix - - n - 1 proxymap',
        ],
        ...[
          'smtp unix - - n - - smtp',
          'relay unix - - n - - smtp',
          'error unix - - n - - error',
          'retry unix - - n - - error',
        ],
        ...['discard unix - - n - - discard', 'local unix - n n - - local', 'virtual unix - n n - - virtual'],
        'postlog unix-dgram n - n - 1 postlogd',
        '',
      ].join('\n'),
    )
  }
}

function identity(user: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Resolves when something listens at a port; rejects if the process that should has ended. */
async function listening(port: number, child: ChildProcess): Promise<void> {
  const until = Date.now() + START
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return
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
