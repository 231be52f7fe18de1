import { PlexusError } from '../../errors/index.js'
import { nearest } from './argv.js'

/** The words that people type who know ssh or another program of this kind, and what does that here. */
const WORDS: Readonly<Record<string, (argument: string) => string>> = {
  ssh: (peer) =>
    `For ssh put ProxyCommand plexus --peer-info=${peer || 'PEER'} --stdio=ssh into ~/.ssh/config, or run plexus --peer-info=${peer || 'PEER'} --import ssh=2222 and then ssh -p 2222 127.0.0.1.`,
  connect: (peer) =>
    `To pair with a peer: plexus --peer-info=${peer || 'PEER'} --import ssh=2222 (or --exec-command=PROGRAM).`,
  join: (peer) => `To pair with a peer: plexus --peer-info=${peer || 'PEER'}.`,
  share: (port) => `To share a service with your peers: plexus --accept --export ${port || 'ssh=22'}.`,
  expose: (port) => `To share a service with your peers: plexus --accept --export ${port || 'ssh=22'}.`,
  listen: () => 'To wait for peers: plexus --accept, with --export ssh=22 or --exec-command=PROGRAM.',
  serve: () => 'To wait for peers: plexus --accept, with --export ssh=22 or --exec-command=PROGRAM.',
  server: () => 'To wait for peers: plexus --accept, with --export ssh=22 or --exec-command=PROGRAM.',
  accept: () => 'To wait for peers: plexus --accept.',
  up: () => 'To wait for peers: plexus --accept. To pair with one: plexus --peer-info=PEER.',
  start: () => 'To wait for peers: plexus --accept. To pair with one: plexus --peer-info=PEER.',
  run: () => 'To wait for peers: plexus --accept. To pair with one: plexus --peer-info=PEER.',
  down: () => 'To stop a running plexus, send it SIGTERM.',
  stop: () => 'To stop a running plexus, send it SIGTERM.',
  status: () => 'To see the tunnels of a running plexus in its log, send it SIGUSR2: kill -USR2 PID.',
  stun: () => "Did you mean 'plexus nat' or 'plexus stun-server'?",
  dht: () => "Did you mean 'plexus dht-node'?",
  keygen: () => 'To make an identity: plexus id new you@example.com/laptop.',
  init: () => 'To make an identity: plexus id new you@example.com/laptop.',
  login: () => 'There are no accounts. To make an identity: plexus id new you@example.com/laptop.',
  version: () => "Did you mean 'plexus --version'?",
  doctor: () => "Did you mean 'plexus check'?",
  test: () => "Did you mean 'plexus check' or 'plexus ping PEER'?",
  keys: () => "Did you mean 'plexus id list'?",
  list: () => "Did you mean 'plexus id list'?",
  peers: () => "Did you mean 'plexus id list'?",
  new: () => "Did you mean 'plexus id new'?",
  export: () => "Did you mean --export, or 'plexus id export'?",
  import: () => "Did you mean --import, or 'plexus id import'?",
}

/** Flags of ssh and of other programs of this kind, and what does that here. */
const FLAGS: Readonly<Record<string, string>> = {
  L: 'What ssh calls -L 2222:localhost:22 is --import ssh=2222 here and --export ssh=22 on the peer.',
  R: 'What ssh calls -R 8080:localhost:80 is --export web=80 here and --import web=8080 on the peer.',
  D: 'There is no SOCKS proxy: name each service in --export on one side and --import on the other.',
  N: 'There is nothing to leave out: without --exec-command no command runs.',
  W: 'What ssh calls -W is --stdio=NAME here and --export NAME=PORT on the peer.',
  p: 'A port belongs to a service: --import ssh=2222.',
  i: 'Keys are in the repository: --app-repo names it, and --host-info the identity in it.',
  l: 'Name your identity in --host-info.',
  host: 'Did you mean --host-info (your identity) or --stun-client (a local address)?',
  server: 'To wait for peers use --accept; to pair with one, --peer-info.',
  client: 'To pair with a peer use --peer-info.',
  connect: 'To pair with a peer use --peer-info.',
  listen: 'To wait for peers use --accept.',
  port: 'Name a service in --export or --import, or local ports in --port-range.',
  stun: 'Did you mean --stun-server?',
  turn: 'There is no relay yet: TURN servers are not used.',
  identity: 'Did you mean --host-info?',
  name: 'Did you mean --host-info (your identity) or --app-id (the application)?',
  key: 'Keys are in the repository that --app-repo names.',
  repo: 'Did you mean --app-repo?',
  forward: 'Use --export on the side that has the service, and --import on the other.',
  command: 'Did you mean --exec-command?',
  exec: 'Did you mean --exec-command?',
  daemon: 'plexus stays in the foreground; a service manager such as systemd keeps it running.',
  background: 'plexus stays in the foreground; a service manager such as systemd keeps it running.',
  debug: 'Did you mean --log-level=debug?',
  quiet: 'Did you mean --log-level=error?',
}

/** The refusal of a word that is no command. */
export function unknownCommand(
  word: string,
  rest: readonly string[],
  commands: readonly string[],
): PlexusError {
  const [argument = ''] = rest.filter((each) => !each.startsWith('-'))
  const own = Object.hasOwn(WORDS, word) ? WORDS[word]?.(plain(argument)) : undefined
  const meant = likely(word, commands)
  const advice =
    own ?? (meant === undefined ? 'plexus --help lists the commands.' : `Did you mean 'plexus ${meant}'?`)
  return new PlexusError('BAD_FLAG', `Unknown command '${plain(word)}'.`, { advice })
}

/**
 * The refusal of a flag that there is not.
 * @param shown as it was typed, without a value: that may be a secret
 * @param flags the long names of the flags of this command, the usual ones first
 */
export function unknownFlag(shown: string, flags: readonly string[]): PlexusError {
  const name = shown.replace(/^-+/, '')
  const own = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined
  const meant = own === undefined && name.length > 1 ? likely(name, flags) : undefined
  const advice = own ?? (meant === undefined ? undefined : `Did you mean --${meant}?`)
  return new PlexusError(
    'BAD_FLAG',
    `Unknown flag '${plain(shown)}'.`,
    advice === undefined ? {} : { advice },
  )
}

/**
 * The name that was meant: the one that the word begins, that the word ends, or else one that differs in a letter or two,
 * but no other name altogether: in `peer` and `keep` half the letters differ.
 */
export function likely(word: string, names: readonly string[]): string | undefined {
  const begun = names.find((name) => name.startsWith(word))
  if (begun !== undefined) return begun
  const ended = word.length > 2 ? names.find((name) => name.endsWith(`-${word}`)) : undefined
  return ended ?? nearest(word, names)
}

function plain(word: string): string {
  return word.replace(/\p{C}/gu, ' ').slice(0, 40)
}
