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
  email('smtps', 'the server that takes mail; smtp://host[:587] for STARTTLS', 'host[:465]'),
  email('imaps', 'the server with the mailbox; imap://host[:143] for STARTTLS', 'host[:993]'),
  email('login', 'the name to log in with', 'name'),
  email('password', 'its password, better in the variable PLEXUS_OPT_EMAIL_PASSWORD or a file', 'text'),
  email('password-file', 'a file with the password, read at each login', 'file'),
  email('password-command', 'a program that prints the password, run at each login', 'words'),
  email('token-file', 'a file with an OAuth 2 token instead, for XOAUTH2', 'file'),
  email('token-command', 'a program that prints such a token', 'words'),
  email('ca', 'the authority of the servers', 'file', 'those of the system'),
  email('cert', 'a certificate of the own, if the servers want one', 'file'),
  email('key', 'its private key', 'file'),
  email('folder', 'the folder that messages come to', 'name', 'INBOX'),
  email('keep', 'leave messages in the mailbox when they are done with'),
]

/** The flags of pairing: those of plexus 3.0 to 3.2 keep their names, meaning and defaults. */
export const PAIRING_FLAGS: readonly Flag[] = [
  flag('Pairing', 'switch', 'accept', 'wait for invites, for ever; without it invite the peer once'),
  flag('Pairing', 'one', 'app-id', 'the application: both sides name the same', 'name', 'plexus', {
    aliases: ['app-name'],
  }),
  flag(
    'Pairing',
    'one',
    'app-repo',
    'the repository of identities',
    'dir',
    '/etc/plexus for root, else the XDG config folder',
  ),
  flag('Pairing', 'one', 'host-info', 'the own identity', 'owner/pin', 'the only one with a private key', {
    aliases: ['host-id'],
  }),
  flag(
    'Pairing',
    'one',
    'peer-info',
    'the peer; an accepter without it accepts its whole repository',
    'owner/pin',
    undefined,
    { aliases: ['peer-id'] },
  ),
  flag(
    'Pairing',
    'many',
    'rendezvous',
    'where the sides meet: dht:, email:, dir:/path, exec:command, a package or ./module; repeatable',
    'url',
    'dht:',
  ),
  flag(
    'Pairing',
    'one',
    'dialect',
    'the language: native, plexus-3 for peers of plexus 3.x over email:, or auto, which answers in either',
    'which',
    'native',
  ),
  flag(
    'Pairing',
    'switch',
    'allow-plain',
    'of plexus 3.x peers, take mail that nobody has signed, and write it where a certificate is missing',
  ),
  flag(
    'Pairing',
    'one',
    'timeout',
    'how long a pairing may take, in seconds (default 60, longer over a slow rendezvous)',
    's',
  ),
  flag(
    'Pairing',
    'one',
    'state-dir',
    'what must outlast a restart',
    'dir',
    '$STATE_DIRECTORY, else the XDG state folder',
  ),
  flag(
    'Network',
    'many',
    'stun-server',
    'a STUN server; repeatable; all are asked at once',
    'host[:3478]',
    'a few public ones',
    { aliases: ['udp-stun'] },
  ),
  flag('Network', 'one', 'stun-client', 'the local address and port to punch from', 'ip[:port]', 'any', {
    aliases: ['udp-bind'],
  }),
  flag('Network', 'one', 'port-range', 'local ports to punch from, one for each pairing', 'from-to', 'any'),
  flag(
    'Network',
    'many',
    'candidates',
    'what to let the peer know of: host, virtual, ipv6, reflexive, mapped, predicted',
    'kind,…',
    'all of them',
  ),
  flag(
    'Network',
    'switch',
    'no-port-mapping',
    'ask no router for a port mapping: --candidates without mapped',
  ),
  flag(
    'Network',
    'switch',
    'no-search',
    'never open many sockets or probe ports to find a way through a symmetric NAT',
  ),
  flag('Network', 'one', 'punch-hops', 'the TTL of the opening packets', 'n', '7', { aliases: ['nat-hops'] }),
  flag(
    'Network',
    'many',
    'dht-bootstrap',
    'bootstrap nodes of the HyperDHT network',
    'host:port,…',
    'the public ones',
  ),
  ...EMAIL_FLAGS,
  flag(
    'Command',
    'one',
    'exec-command',
    'the program to start on a passage; without it the passage, secrets too, is printed',
    'path',
    undefined,
    { aliases: ['exec-cmd'] },
  ),
  flag(
    'Command',
    'one',
    'exec-args',
    'its arguments, with wildcards',
    'words',
    '%innerip% %innerport% %outerip% %outerport% %peerip% %peerport%',
    { empty: true },
  ),
  flag('Command', 'many', 'exec-env', 'more for its environment, with wildcards; repeatable', 'NAME=value …'),
  flag('Command', 'one', 'exec-pwd', 'its working directory', 'dir'),
  flag('Command', 'one', 'exec-log', 'a file for what it prints', 'file'),
  flag('Command', 'switch', 'exec-detach', 'let it go instead of supervising it'),
  flag(
    'Command',
    'one',
    'on-repeat',
    'a peer that pairs again while its command or tunnel runs: replace, parallel or refuse',
    'what',
    'replace; parallel for tunnels',
  ),
  flag(
    'Forwarding',
    'many',
    'export',
    'a service here for those who pair: [name=][host:]port, udp:…, unix:/path, and ,peer=… to narrow it; repeatable',
    'service',
  ),
  flag(
    'Forwarding',
    'many',
    'import',
    "the peer's service of that name, here: as in --export, at 127.0.0.1 unless told otherwise; repeatable",
    'service',
  ),
  flag(
    'Forwarding',
    'one',
    'stdio',
    "the peer's service of that name on standard input and output, once: for ssh's ProxyCommand",
    'name',
  ),
  flag('Forwarding', 'one', 'wait', 'how long a connection waits for a tunnel, in seconds', 's', '30'),
  flag('Script', 'switch', 'keep', 'an inviter pairs again when its command ends or the pairing fails'),
  flag('Script', 'switch', 'once', 'an accepter ends after one pairing, with the exit code of its command'),
  flag('Script', 'one', 'result', 'a file that tells how it went, as JSON', 'file'),
  flag('Script', 'one', 'config', 'a file of flags, a line each: name=value', 'file'),
  {
    name: 'verbose',
    arity: 'switch',
    group: 'Log',
    help: 'the log with its reasons, and the story of every candidate: --log-level=debug',
    aliases: ['v'],
  },
  flag('Log', 'one', 'log-level', 'fatal, error, warning, info, debug or trace', 'level', 'info'),
  flag('Log', 'one', 'log-file', 'a file instead of stderr; %p is the process id', 'file'),
  flag('Log', 'one', 'log-format', 'text or json', 'form', 'text'),
  ...['port', 'network'].map(openDht),
]

/** What `plexus wormhole` takes: the flags of the wormhole of plexus 3, and a key. */
export const FORWARDING_FLAGS: readonly Flag[] = [
  flag('Forwarding', 'one', 'purpose', 'export a service of this side, or import that of the other', 'what'),
  flag(
    'Forwarding',
    'one',
    'service',
    'export: where it is; import: where it is offered here; host:port, udp:…, unix:/path, or - for standard input and output',
    'service',
  ),
  flag('Forwarding', 'one', 'gateway', 'the local end of the hole', 'ip:port', '$PLEXUS_INNER'),
  flag('Forwarding', 'one', 'faraway', 'the far end of the hole', 'ip:port', '$PLEXUS_ALIEN'),
  flag(
    'Forwarding',
    'one',
    'key-file',
    'a key that both sides have, 32 bytes as they are or in base64; for its owner alone',
    'file',
    '$PLEXUS_KEY',
  ),
  { name: 'obscure', arity: 'one', group: 'Forwarding', help: '', ignored: true },
]

/** What was given on the command line, by the name of the flag. */
export type Given = Readonly<Record<string, unknown>>
