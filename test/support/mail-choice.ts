import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { connect, createServer as createTlsServer } from 'node:tls'
import { debianRoot, endNamespace, within } from './debian-root.js'
import { freePorts, listening, MailServer, type MailServerOptions, mailServerMissing } from './mail-server.js'
import { NOBODY } from './mail-settings.js'

export const SUBMISSION_SERVERS = ['postfix', 'exim', 'opensmtpd'] as const
export const MAILBOX_SERVERS = ['dovecot', 'cyrus', 'courier'] as const
export type SubmissionServer = (typeof SUBMISSION_SERVERS)[number]
export type MailboxServer = (typeof MAILBOX_SERVERS)[number]

/** What no two of can be installed at once. */
const PACKAGES = [
  ...[
    'cyrus-imapd',
    'cyrus-common',
    'courier-imap',
    'courier-base',
    'courier-authlib',
    'courier-authlib-userdb',
  ],
  ...['gamin', 'exim4-daemon-light', 'exim4-base', 'opensmtpd'],
]
const USERS = { opensmtpd: 64_990, opensmtpq: 64_989, cyrus: 64_988, courier: 64_987, 'Debian-exim': 64_986 }

let root: ReturnType<typeof debianRoot> | undefined

/** Why these servers cannot be started here, if they cannot. */
export function mailChoiceMissing(): string | false {
  const missing = mailServerMissing()
  if (missing) return missing
  root ??= debianRoot(PACKAGES)
  return 'reason' in root ? root.reason : false
}

/**
 * Three submission servers and three mailbox servers at once, on loopback ports, each of which works with each: a Dovecot and a Courier
 * on the same Maildirs of example.com, and a Cyrus for cyrus.example.com, by LMTP. Every password is `secret`.
 *
 * OpenSMTPD of Debian 12 cannot use a private key with OpenSSL 3: it speaks TLS without certificates to a listener here, which has one.
 */
export class MailChoice {
  readonly base: MailServer
  readonly #children: ChildProcess[] = []
  readonly #servers: Server[] = []
  readonly #smtps: Record<SubmissionServer, number>
  readonly #imaps: Record<MailboxServer, number>

  private constructor(
    base: MailServer,
    smtps: Record<SubmissionServer, number>,
    imaps: Record<MailboxServer, number>,
  ) {
    this.base = base
    this.#smtps = smtps
    this.#imaps = imaps
  }

  /** @param names of users, at both domains */
  static async start(names: readonly string[], options: MailServerOptions = {}): Promise<MailChoice> {
    const users = names.flatMap((name) => [`${name}@example.com`, `${name}@cyrus.example.com`])
    const [exim = 0, opensmtpd = 0, inner = 0, cyrus = 0, courier = 0, lmtp = 0] = await freePorts(6)
    const base = await MailServer.start(users, {
      ...options,
      postfix: [
        'relay_domains = cyrus.example.com',
        `transport_maps = inline:{cyrus.example.com=lmtp:inet:127.0.0.1:${lmtp}}`,
        ...(options.postfix ?? []),
      ],
    })
    const choice = new MailChoice(
      base,
      { postfix: base.ports.smtps, exim, opensmtpd },
      { dovecot: base.ports.imaps, cyrus, courier },
    )
    try {
      for (const user of users) {
        mkdirSync(base.maildir(user), { recursive: true })
        for (const kind of ['', 'new', 'cur', 'tmp']) {
          mkdirSync(join(base.maildir(user), kind), { recursive: true })
          chownSync(join(base.maildir(user), kind), NOBODY, NOBODY)
        }
      }
      await Promise.all([
        choice.#exim(exim, lmtp, names),
        choice.#opensmtpd(opensmtpd, inner, lmtp, users),
        choice.#cyrus(cyrus, lmtp),
        choice.#courier(courier, users),
      ])
      return choice
    } catch (thrown) {
      await choice.stop()
      throw thrown
    }
  }

  /** The address of a user where this mailbox server has it. */
  address(name: string, mailbox: MailboxServer): string {
    return `${name}@${mailbox === 'cyrus' ? 'cyrus.' : ''}example.com`
  }

  /** The flags of the program for a user, with these two servers. */
  flags(name: string, submission: SubmissionServer, mailbox: MailboxServer): string[] {
    return this.base.flags(this.address(name, mailbox), {
      'email-smtps': `localhost:${this.#smtps[submission]}`,
      'email-imaps': `localhost:${this.#imaps[mailbox]}`,
    })
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const gone = once(child, 'exit')
        endNamespace(child)
        await gone
      }),
    )
    for (const server of this.#servers) server.close()
    await this.base.stop()
  }

  async #run(name: string, port: number, script: string): Promise<void> {
    if (root === undefined || 'reason' in root) throw new Error('the packages are missing')
    const directory = join(this.base.directory, name)
    mkdirSync(directory, { recursive: true })
    const [command, args] = within(root.path, directory, USERS, script)
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr?.on('data', (data) => {
      said = (said + data).slice(-4000)
    })
    this.#children.push(child)
    await listening(port, child).catch((thrown: unknown) => {
      throw new Error(`${name}: ${thrown}\n${said}`)
    })
  }

  async #exim(port: number, lmtp: number, names: readonly string[]): Promise<void> {
    const { directory } = this.base
    const home = join(directory, 'exim')
    const spool = join(home, 'spool')
    mkdirSync(spool, { recursive: true })
    for (const path of [home, spool]) chownSync(path, NOBODY, NOBODY)
    writeFileSync(join(home, 'boxes'), names.map((name) => `${name}: ${name}\n`).join(''))
    writeFileSync(
      join(home, 'exim.conf'),
      `exim_user = nobody
exim_group = nogroup
spool_directory = ${spool}
log_file_path = ${spool}/%slog
pid_file_path = ${spool}/pid
primary_hostname = exim.example.com
daemon_smtp_ports = ${port}
tls_on_connect_ports = ${port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = ${directory}/server.pem
tls_privatekey = ${directory}/server.key
host_lookup =
never_users =
keep_environment =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept authenticated = *
         domains = example.com : cyrus.example.com
  deny message = 5.7.1 log in first
begin routers
cyrus:
  driver = manualroute
  domains = cyrus.example.com
  route_list = * 127.0.0.1
  self = send
  transport = lmtp
box:
  driver = accept
  domains = example.com
  local_parts = lsearch;${home}/boxes
  transport = maildir
begin transports
lmtp:
  driver = smtp
  protocol = lmtp
  port = ${lmtp}
  allow_localhost
  hosts_avoid_tls = *
maildir:
  driver = appendfile
  directory = ${directory}/mail/\${local_part_data}@example.com
  maildir_format
  user = nobody
  group = nogroup
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if eq{$auth3}{secret}}
  server_set_id = $auth2
  server_advertise_condition = \${if def:tls_in_cipher}
`,
    )
    await this.#run('exim', port, `exec /usr/sbin/exim4 -C '${home}/exim.conf' -bdf -q1h`)
  }

  async #opensmtpd(port: number, inner: number, lmtp: number, users: readonly string[]): Promise<void> {
    const { directory } = this.base
    const home = join(directory, 'opensmtpd')
    mkdirSync(home)
    copyFileSync(join(directory, 'server.key'), join(home, 'key'))
    chmodSync(join(home, 'key'), 0o600)
    const password = execFileSync('openssl', ['passwd', '-6', 'secret'], { encoding: 'utf8' }).trim()
    const table = (name: string, value: string) => {
      writeFileSync(join(home, name), users.map((user) => `${user}\t${value}\n`).join(''))
      return `file:${home}/${name}`
    }
    writeFileSync(join(home, 'base'), `vmail\t${NOBODY}:${NOBODY}:${directory}/mail\n`)
    writeFileSync(
      join(home, 'smtpd.conf'),
      `smtp ciphers "aNULL:@SECLEVEL=0"
pki inner cert "${directory}/server.pem"
pki inner key "${home}/key"
table creds ${table('creds', password)}
table base file:${home}/base
table boxes ${table('boxes', 'vmail')}
listen on 127.0.0.1 port ${inner} smtps pki inner auth <creds>
action "maildir" maildir "${directory}/mail/%{rcpt}" virtual <boxes> userbase <base>
action "lmtp" lmtp "127.0.0.1:${lmtp}" rcpt-to virtual <boxes> userbase <base>
match from any auth for domain "example.com" action "maildir"
match from any auth for domain "cyrus.example.com" action "lmtp"
`,
    )
    await this.#run(
      'opensmtpd',
      inner,
      `spool=/var/spool/smtpd
mkdir -p $spool /var/lib/opensmtpd/empty
chmod 711 $spool
for each in corrupt incoming purge queue temporary; do mkdir -m 700 $spool/$each; chown opensmtpq $spool/$each; done
mkdir -m 770 $spool/offline
chgrp opensmtpq $spool/offline
exec /usr/sbin/smtpd -d -f '${home}/smtpd.conf'`,
    )
    const certified = {
      cert: readFileSync(join(directory, 'server.pem')),
      key: readFileSync(join(directory, 'server.key')),
    }
    const front = createTlsServer(certified, (outer) => {
      const plain = connect({
        host: '127.0.0.1',
        port: inner,
        ciphers: 'AECDH-AES256-SHA:@SECLEVEL=0',
        maxVersion: 'TLSv1.2',
        rejectUnauthorized: false,
      })
      for (const [one, other] of [
        [outer, plain],
        [plain, outer],
      ] as const) {
        one.on('error', () => other.destroy())
        one.pipe(other)
      }
    })
    this.#servers.push(front)
    await once(front.listen(port, '127.0.0.1'), 'listening')
  }

  async #cyrus(port: number, lmtp: number): Promise<void> {
    const { directory } = this.base
    const home = join(directory, 'cyrus')
    mkdirSync(home)
    const asked = join(home, 'saslauthd')
    const sasl = createServer((socket) => {
      let data = Buffer.alloc(0)
      socket.on('error', () => {})
      socket.on('data', (more: Buffer) => {
        data = Buffer.concat([data, more])
        const fields: string[] = []
        for (let at = 0; fields.length < 4; ) {
          if (data.length < at + 2 || data.length < at + 2 + data.readUInt16BE(at)) return
          const end = at + 2 + data.readUInt16BE(at)
          fields.push(data.toString('utf8', at + 2, end))
          at = end
        }
        socket.end(`\0\x02${fields[1] === 'secret' ? 'OK' : 'NO'}`)
      })
    })
    this.#servers.push(sasl)
    await once(sasl.listen(asked), 'listening')
    chmodSync(asked, 0o777)
    writeFileSync(
      join(home, 'imapd.conf'),
      `configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus/mail
admins: cyrus
allowplaintext: yes
virtdomains: userid
unixhierarchysep: yes
autocreate_post: yes
autocreate_quota: 0
autocreate_inbox_folders: Junk|Sent|Trash
xlist-junk: Junk
xlist-sent: Sent
xlist-trash: Trash
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: ${asked}
sasl_mech_list: PLAIN
tls_server_cert: ${directory}/server.pem
tls_server_key: ${directory}/server.key
idlesocket: /run/cyrus/idle
lmtpsocket: /run/cyrus/lmtp
`,
    )
    const bin = (name: string) => `/usr/lib/cyrus/bin/${name} -C ${home}/imapd.conf`
    writeFileSync(
      join(home, 'cyrus.conf'),
      `START {
 recover cmd="${bin('ctl_cyrusdb')} -r"
}
SERVICES {
 imaps cmd="${bin('imapd')} -s" listen="127.0.0.1:${port}" prefork=1 maxchild=40
 lmtp cmd="${bin('lmtpd')} -a" listen="127.0.0.1:${lmtp}" prefork=1 maxchild=10
}
DAEMON {
 idled cmd="${bin('idled')}"
}
`,
    )
    await this.#run(
      'cyrus',
      port,
      `for each in db log msg proc ptclient socket sync lock quota user backup; do mkdir -p /var/lib/cyrus/$each; done
mkdir -p /var/spool/cyrus/mail /run/cyrus/socket /run/cyrus/lock
chown -R cyrus:mail /var/lib/cyrus /var/spool/cyrus /run/cyrus
exec /usr/lib/cyrus/bin/master -C '${home}/imapd.conf' -M '${home}/cyrus.conf' -p /run/cyrus/master.pid`,
    )
  }

  async #courier(port: number, users: readonly string[]): Promise<void> {
    const { directory } = this.base
    const home = join(directory, 'courier')
    mkdirSync(home)
    const password = execFileSync('openssl', ['passwd', '-6', 'secret'], { encoding: 'utf8' }).trim()
    const line = (user: string) =>
      `${user}\tuid=${NOBODY}|gid=${NOBODY}|home=${directory}/mail|mail=${this.base.maildir(user)}|imappw=${password}\n`
    writeFileSync(join(home, 'userdb'), users.map(line).join(''), { mode: 0o600 })
    writeFileSync(
      join(home, 'authdaemonrc'),
      `authmodulelist="authuserdb"
authmodulelistorig="authuserdb"
daemons=2
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
DEFAULTOPTIONS=""
LOGGEROPTS=""
`,
    )
    await this.#run(
      'courier',
      port,
      `mkdir -p /run/courier/authdaemon /var/lib/courier
cp '${home}/authdaemonrc' '${home}/userdb' /etc/courier/
/usr/sbin/makeuserdb
/usr/lib/courier/courier-authlib/authdaemond &
cat '${directory}/server.key' '${directory}/server.pem' >/run/courier/both.pem
set -a
. /etc/courier/imapd
. /etc/courier/imapd-ssl
TLS_CERTFILE=/run/courier/both.pem
exec /usr/sbin/couriertcpd -nodnslookup -noidentlookup -maxprocs=40 -maxperip=40 -address=127.0.0.1 ${port} /usr/bin/couriertls -server -tcpd /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir`,
    )
  }
}
