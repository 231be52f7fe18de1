import { execFileSync } from 'node:child_process'

/** Whom mail belongs to on disk. */
export const NOBODY = 65_534

/** How Dovecot keeps mail: Postfix writes a Maildir by itself, and hands everything else to Dovecot. */
export type MailFormat = 'maildir' | 'sdbox'

/** What both servers are told. */
export interface MailSettings {
  readonly directory: string
  readonly users: readonly string[]
  /** Where both listen. */
  readonly address: string
  readonly ports: {
    readonly smtps: number
    readonly submission: number
    readonly imaps: number
    readonly imap: number
  }
  readonly format: MailFormat
  /** More lines for each of the two. */
  readonly dovecot: string
  readonly postfix: readonly string[]
  /** More services of Postfix. */
  readonly services: readonly string[]
}

/** The configuration of a stock Dovecot. */
export function dovecotConf({ directory, address, ports, format, dovecot }: MailSettings): string {
  const { imaps, imap } = ports
  const box = (name: string) => `mailbox ${name} {\n auto = create\n special_use = \\${name}\n }`
  return `base_dir = ${directory}/run
state_dir = ${directory}/run
log_path = ${directory}/dovecot.log
protocols = imap
listen = ${address}
ssl = required
ssl_cert = <${directory}/server.pem
ssl_key = <${directory}/server.key
first_valid_uid = 1
mail_location = ${format}:${directory}/mail/%u
mail_max_userip_connections = 100
auth_failure_delay = 0
passdb {
 driver = passwd-file
 args = ${directory}/users
}
userdb {
 driver = static
 args = uid=${NOBODY} gid=${NOBODY} home=${directory}/mail/%u
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
service anvil {
 unix_listener anvil-auth-penalty {
  mode = 0
 }
}
service stats {
 unix_listener stats-writer {
  mode = 0666
 }
}
service auth {
 unix_listener ${directory}/auth {
  mode = 0666
 }
 unix_listener auth-userdb {
  mode = 0666
 }
}
${dovecot}
`
}

/** Postfix's main.cf. */
export function mainCf({ directory, address, format, postfix }: MailSettings): string {
  const transport =
    format === 'maildir' ? [] : ['virtual_transport = dovecot', 'dovecot_destination_recipient_limit = 1']
  return [
    'compatibility_level = 3.6',
    `queue_directory = ${directory}/queue`,
    `data_directory = ${directory}/data`,
    `inet_interfaces = ${address}`,
    'inet_protocols = ipv4',
    'myhostname = mail.example.com',
    'mydestination =',
    'mynetworks =',
    'alias_maps =',
    'local_recipient_maps =',
    'virtual_mailbox_domains = example.com',
    `virtual_mailbox_maps = texthash:${directory}/postfix/mailboxes`,
    `virtual_mailbox_base = ${directory}/mail`,
    `virtual_uid_maps = static:${NOBODY}`,
    `virtual_gid_maps = static:${NOBODY}`,
    'virtual_minimum_uid = 1',
    'smtpd_sasl_auth_enable = yes',
    'smtpd_sasl_type = dovecot',
    `smtpd_sasl_path = ${directory}/auth`,
    'smtpd_tls_auth_only = yes',
    'smtpd_tls_security_level = may',
    `smtpd_tls_cert_file = ${directory}/server.pem`,
    `smtpd_tls_key_file = ${directory}/server.key`,
    'smtpd_relay_restrictions = permit_sasl_authenticated, reject',
    `maillog_file = ${directory}/postfix.log`,
    `maillog_file_prefixes = ${directory}`,
    ...transport,
    ...postfix,
    '',
  ].join('\n')
}

/** Postfix's master.cf. */
export function masterCf({ directory, address, ports, format, services }: MailSettings): string {
  const { smtps, submission } = ports
  return [
    `${address}:${smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes`,
    `${address}:${submission} inet n - n - - smtpd`,
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
      'lmtp unix - - n - - lmtp',
      'error unix - - n - - error',
      'retry unix - - n - - error',
    ],
    ...['discard unix - - n - - discard', 'local unix - n n - - local', 'virtual unix - n n - - virtual'],
    ...(format === 'maildir'
      ? []
      : [
          `dovecot unix - n n - - pipe flags=DRhu user=nobody:nogroup argv=/usr/lib/dovecot/dovecot-lda -c ${directory}/dovecot.conf -f \${sender} -d \${recipient}`,
        ]),
    'postlog unix-dgram n - n - 1 postlogd',
    ...services,
    '',
  ].join('\n')
}

/** The ids of a user of the system. */
export function identity(user: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}
