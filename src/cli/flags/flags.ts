/** A flag as the command line has it: what it means, and how often it may be given. */
export interface Flag {
  readonly name: string
  /** `switch` takes no value, `one` takes one, `many` may be repeated. */
  readonly arity: 'switch' | 'one' | 'many'
  readonly group: 'Pairing' | 'Network' | 'Email' | 'Command' | 'Forwarding' | 'Script' | 'Log'
  /** What stands for the value in the help. */
  readonly value?: string
  readonly help: string
  readonly fallback?: string
  /** Other names for the same, those of plexus 3.3 and 3.4. */
  readonly aliases?: readonly string[]
  /** Nothing is a value of its own: `--exec-args=` means no arguments. */
  readonly empty?: true
  /** Known and without effect; it is not in the help. */
  readonly ignored?: true
}

const flag = (
  group: Flag['group'],
  arity: Flag['arity'],
  name: string,
  help: string,
  value?: string,
  fallback?: string,
  more: Pick<Flag, 'aliases' | 'empty'> = {},
): Flag => ({
  name,
  arity,
  group,
  help,
  ...(value ? { value } : {}),
  ...(fallback ? { fallback } : {}),
  ...more,
})

/** A flag of the email rendezvous: those of plexus 3.0 to 3.2, and more ways to give a secret. */
const email = (name: string, help: string, value?: string, fallback?: string): Flag =>
  flag('Email', value === undefined ? 'switch' : 'one', `email-${name}`, help, value, fallback)

/** A flag that configures the OpenDHT network of plexus 3.0 to 3.2. */
const openDht = (name: string): Flag => ({
  name: `dht-${name}`,
  arity: 'one',
  group: 'Network',
  help: '',
  ignored: true,
})

/** The account of the rendezvous `email:`. */
export const EMAIL_FLAGS: readonly Flag[] = [
  email('smtps', 'server for outgoing mail; smtp://host[:587] for STARTTLS', 'host[:465]'),
  email('imaps', 'server with the mailbox; imap://host[:143] for STARTTLS', 'host[:993]'),
  email('login', 'user name', 'name'),
  email('password', 'password; safer in PLEXUS_OPT_EMAIL_PASSWORD or a file', 'text'),
  email('password-file', 'file with the password, read at each login', 'file'),
  email('password-command', 'command that prints the password, run at each login', 'words'),
  email('token-file', 'file with an OAuth 2 token (XOAUTH2) instead of a password', 'file'),
  email('token-command', 'command that prints such a token', 'words'),
  email('ca', 'CA certificate of the servers', 'file', "the system's"),
  email('cert', 'client certificate, if the servers want one', 'file'),
  email('key', 'private key of the client certificate', 'file'),
  email('folder', 'folder that messages arrive in', 'name', 'INBOX'),
  email('keep', 'keep messages in the mailbox after use'),
]

/** The flags of pairing: those of plexus 3.0 to 3.2 keep their names, meaning and defaults. */
export const PAIRING_FLAGS: readonly Flag[] = [
  flag('Pairing', 'switch', 'accept', 'wait for peers to connect, and serve them'),
  flag('Pairing', 'one', 'app-id', 'application name; must be the same on both sides', 'name', 'plexus', {
    aliases: ['app-name'],
  }),
  flag(
    'Pairing',
    'one',
    'app-repo',
    'directory of identities',
    'dir',
    '/etc/plexus for root, else the XDG config folder',
  ),
  flag('Pairing', 'one', 'host-info', 'your identity', 'owner/pin', 'the only one with a private key', {
    aliases: ['host-id'],
  }),
  flag(
    'Pairing',
    'one',
    'peer-info',
    'the peer to connect to; with --accept, the only peer to accept',
    'owner/pin',
    undefined,
    { aliases: ['peer-id'] },
  ),
  flag(
    'Pairing',
    'many',
    'rendezvous',
    'where the two sides meet: dht:, email:, dir:/path, exec:command, a package or ./module.js; repeatable',
    'url',
    'dht:',
  ),
  flag(
    'Pairing',
    'one',
    'dialect',
    'protocol: native, plexus-3 for plexus 3.x peers over email:, or auto to answer in either',
    'which',
    'native',
  ),
  flag(
    'Pairing',
    'switch',
    'allow-plain',
    'for plexus 3.x peers: accept unsigned mail, and send it where a certificate is missing',
  ),
  flag('Pairing', 'one', 'timeout', 'seconds one pairing may take', 's', '60, more over a slow rendezvous'),
  flag(
    'Pairing',
    'one',
    'state-dir',
    'directory for persistent state',
    'dir',
    '$STATE_DIRECTORY, else the XDG state folder',
  ),
  flag(
    'Network',
    'many',
    'stun-server',
    'STUN server; repeatable, all are asked at once',
    'host[:3478]',
    'a few public ones',
    { aliases: ['udp-stun'] },
  ),
  flag('Network', 'one', 'stun-client', 'local address and port to punch from', 'ip[:port]', 'any', {
    aliases: ['udp-bind'],
  }),
  flag('Network', 'one', 'port-range', 'local ports to punch from, one per pairing', 'from-to', 'any'),
  flag(
    'Network',
    'many',
    'candidates',
    'kinds of addresses to offer the peer: host, virtual, ipv6, reflexive, mapped, predicted',
    'kind,…',
    'all of them',
  ),
  flag('Network', 'switch', 'no-port-mapping', 'do not ask the router for a port mapping'),
  flag('Network', 'switch', 'no-search', 'do not probe ports to get through a symmetric NAT'),
  flag('Network', 'one', 'punch-hops', 'TTL of the opening packets', 'n', '7', { aliases: ['nat-hops'] }),
  flag(
    'Network',
    'many',
    'dht-bootstrap',
    'bootstrap nodes of the HyperDHT network; repeatable',
    'host:port,…',
    'the public ones',
  ),
  ...EMAIL_FLAGS,
  flag(
    'Command',
    'one',
    'exec-command',
    'program to start when connected; without it, the addresses and the key are printed',
    'path',
    undefined,
    { aliases: ['exec-cmd'] },
  ),
  flag(
    'Command',
    'one',
    'exec-args',
    'its arguments, with wildcards such as %peerip%',
    'words',
    '%innerip% %innerport% %outerip% %outerport% %peerip% %peerport%',
    { empty: true },
  ),
  flag(
    'Command',
    'many',
    'exec-env',
    'environment variables to add, with wildcards; repeatable',
    'NAME=value …',
  ),
  flag('Command', 'one', 'exec-pwd', 'its working directory', 'dir'),
  flag('Command', 'one', 'exec-log', 'file for its output', 'file'),
  flag('Command', 'switch', 'exec-detach', 'start it detached: it keeps running when plexus ends'),
  flag(
    'Command',
    'one',
    'on-repeat',
    'when a peer connects again while its command or tunnel is running: replace, parallel or refuse',
    'what',
    'replace; parallel for tunnels',
  ),
  flag(
    'Forwarding',
    'many',
    'export',
    'share a local service: [name=][host:]port, udp:…, unix:/path; ,peer=… limits who may use it; repeatable',
    'service',
  ),
  flag(
    'Forwarding',
    'many',
    'import',
    'use a service of the peer on a local port: name=[host:]port, by default at 127.0.0.1; repeatable',
    'service',
  ),
  flag(
    'Forwarding',
    'one',
    'stdio',
    "connect standard input and output to a service of the peer, as for ssh's ProxyCommand",
    'name',
  ),
  flag('Forwarding', 'one', 'wait', 'seconds a local connection waits for a tunnel', 's', '30'),
  flag('Script', 'switch', 'keep', 'connect again whenever the command ends or the pairing fails'),
  flag(
    'Script',
    'switch',
    'once',
    'with --accept: exit after one pairing, with the exit code of its command',
  ),
  flag('Script', 'one', 'result', 'write the outcome to a file, as JSON', 'file'),
  flag('Script', 'one', 'config', 'read flags from a file, one name=value per line', 'file'),
  {
    name: 'verbose',
    arity: 'switch',
    group: 'Log',
    help: 'log at debug level',
    aliases: ['v'],
  },
  flag('Log', 'one', 'log-level', 'fatal, error, warning, info, debug or trace', 'level', 'info'),
  flag('Log', 'one', 'log-file', 'log to a file instead of standard error; %p is the process ID', 'file'),
  flag('Log', 'one', 'log-format', 'text or json', 'form', 'text'),
  ...['port', 'network'].map(openDht),
]

/** What `plexus wormhole` takes: the flags of the wormhole of plexus 3, and a key. */
export const FORWARDING_FLAGS: readonly Flag[] = [
  flag('Forwarding', 'one', 'purpose', "export a local service, or import the peer's", 'what'),
  flag(
    'Forwarding',
    'one',
    'service',
    'export: where the service is; import: where to listen; host:port, udp:…, unix:/path, or - for standard input and output',
    'service',
  ),
  flag('Forwarding', 'one', 'gateway', 'local end of the hole', 'ip:port', '$PLEXUS_INNER'),
  flag('Forwarding', 'one', 'faraway', 'far end of the hole', 'ip:port', '$PLEXUS_ALIEN'),
  flag(
    'Forwarding',
    'one',
    'key-file',
    'key that both sides have, 32 bytes, raw or base64; only its owner may read it',
    'file',
    '$PLEXUS_KEY',
  ),
  { name: 'obscure', arity: 'one', group: 'Forwarding', help: '', ignored: true },
]

/** What was given on the command line, by the name of the flag. */
export type Given = Readonly<Record<string, unknown>>
