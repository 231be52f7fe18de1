import yargs from 'yargs'
import { PlexusError } from '../../errors/index.js'
import { joinWords } from '../flags/argv.js'
import { EMAIL_FLAGS, type Flag, FORWARDING_FLAGS, type Given, PAIRING_FLAGS } from '../flags/flags.js'
import { settled } from '../flags/settled.js'
import { likely, unknownCommand, unknownFlag } from '../flags/suggestions.js'
import { ID_FLAGS } from '../id/flags.js'
import { ID_ACTIONS } from '../id/index.js'
import { version } from '../version.js'

/** How wide the help is, in columns. */
const HELP_WIDTH = 110

const EXAMPLES: readonly (readonly [string, string])[] = [
  ['$0 id new alice@example.com/laptop', 'create an identity'],
  ['$0 --accept --export ssh=22', 'on a server: share its ssh port with the peers in the repository'],
  ['$0 --peer-info=server --import ssh=2222', 'on a laptop: then ssh -p 2222 127.0.0.1'],
  ['$0 demo', 'see it work on one machine'],
]

/** The twelve flags that people use first; `--help --all` shows the others too. */
const FIRST: ReadonlySet<string> = new Set([
  ...['accept', 'peer-info', 'host-info', 'app-repo', 'rendezvous'],
  ...['export', 'import', 'stdio', 'exec-command'],
  ...['keep', 'config', 'verbose'],
])

/**
 * Runs one command line and resolves to the exit code.
 * @throws PlexusError for everything that a person has to be told
 */
export async function run(argv: readonly string[]): Promise<number> {
  let code = 0
  const done = (result: Promise<number>) =>
    result.then((value) => {
      code = value
    })
  const completing = argv[0] === '--get-yargs-completions'
  const everything = completing || !asksForHelp(argv) || argv.includes('--all')
  const words = asksForHelp(argv) ? argv.filter((word) => word !== '--all') : argv
  const declare = (command: Program, flags: readonly Flag[]) => declareFlags(command, flags, everything)
  const program = yargs(completing ? [...argv] : joinWords(words, flagsOf(words)))
    .scriptName('plexus')
    .usage(
      'plexus [command] [--flag=value …]\n\nConnects two machines behind NATs directly, then forwards services or starts a command.',
    )
    .locale('en')
    .version(version())
    .help()
    .alias('help', 'h')
    .wrap(HELP_WIDTH)
    .strict()
    .exitProcess(false)
    .parserConfiguration({
      'camel-case-expansion': false,
      'dot-notation': false,
      'duplicate-arguments-array': true,
      'boolean-negation': false,
    })
    .fail((message, error) => {
      throw error ?? refusal(message, argv)
    })
  for (const [line, what] of EXAMPLES) program.example(line, what)
  if (!everything)
    program.epilogue('plexus --help --all shows every flag. More: man plexus, and docs/ of the package.')
  program.command(
    '$0',
    'connect to a peer, or wait for peers with --accept',
    (command) => declare(command, PAIRING_FLAGS),
    (given) => done(pair(given)),
  )
  program.command(
    'id <action> [identity]',
    'manage identities: create, show, exchange, renew and remove them',
    (command) =>
      declare(
        command.positional('action', { type: 'string', choices: ID_ACTIONS }).positional('identity', {
          type: 'string',
          describe: 'owner/pin or a short form of it; for import, a file or -',
        }),
        ID_FLAGS,
      ),
    (given) =>
      done(
        import('../id/index.js').then(({ identityCommand }) =>
          identityCommand(withDash(given, argv), settled(given, ID_FLAGS)),
        ),
      ),
  )
  program.command(
    'check',
    'check everything that a pairing with these flags needs',
    (command) => declare(command, CHECK_FLAGS),
    (given) =>
      done(
        import('./check.js').then(({ checkCommandLine }) => checkCommandLine(settled(given, CHECK_FLAGS))),
      ),
  )
  program.command(
    'ping <peer>',
    'test the path to a peer without starting anything',
    (command) => declare(command.positional('peer', { type: 'string', describe: 'owner/pin' }), PING_FLAGS),
    (given) =>
      done(
        import('./ping.js').then(({ pingCommand }) =>
          pingCommand(String(given.peer), settled(given, PING_FLAGS)),
        ),
      ),
  )
  program.command(
    'wormhole',
    'forward a service through a hole, started by plexus or by hand',
    (command) => declare(command, WORMHOLE_FLAGS),
    (given) =>
      done(
        import('./wormhole.js').then(({ wormholeCommand }) =>
          wormholeCommand(settled(given, WORMHOLE_FLAGS)),
        ),
      ),
  )
  program.command(
    'nat',
    'show what your network does to UDP and which peers you can reach',
    (command) => declare(command, NAT_FLAGS),
    (given) => done(import('./nat.js').then(({ natCommand }) => natCommand(settled(given, NAT_FLAGS)))),
  )
  program.command(
    'stun-server',
    'run a STUN server',
    (command) => declare(command, STUN_FLAGS),
    (given) => done(import('./servers.js').then(({ stunServer }) => stunServer(settled(given, STUN_FLAGS)))),
  )
  program.command(
    'dht-node',
    'run a DHT node, or a DHT network of your own',
    (command) => declare(command, DHT_FLAGS),
    (given) => done(import('./servers.js').then(({ dhtNode }) => dhtNode(settled(given, DHT_FLAGS)))),
  )
  program.command(
    'rendezvous <action> <url>',
    'test a rendezvous of your own: rendezvous test ./module.js',
    (command) =>
      declare(
        command
          .positional('action', { type: 'string', choices: ['test'] })
          .positional('url', { type: 'string', describe: 'as in --rendezvous' }),
        RENDEZVOUS_FLAGS,
      ),
    (given) =>
      done(
        import('./rendezvous.js').then(({ rendezvousCommand }) =>
          rendezvousCommand(String(given.url), settled(given, RENDEZVOUS_FLAGS)),
        ),
      ),
  )
  program.command(
    'demo',
    'pair two identities on this machine, as a demonstration',
    (command) => declare(command, DEMO_FLAGS),
    (given) => done(import('./demo.js').then(({ demo }) => demo(settled(given, DEMO_FLAGS)))),
  )
  program.command(
    'completion',
    'print a completion script for bash or zsh',
    (command) => command,
    () => void program.showCompletionScript(),
  )
  // what follows no command completes as the default one, whose flags yargs does not look at
  if (completing && argv.slice(2).every((word) => word === '' || word.startsWith('-'))) {
    declare(program, PAIRING_FLAGS)
  }
  await program.parseAsync()
  return code
}

async function pair(given: Given): Promise<number> {
  const { pairCommand } = await import('./pair.js')
  return await pairCommand(settled(given, PAIRING_FLAGS))
}

/** A lone dash, which the parser takes for an empty word, is a word like any other. */
function withDash(given: Given, argv: readonly string[]): Given {
  return given.identity === '' && argv.includes('-') ? { ...given, identity: '-' } : given
}

type Program = ReturnType<typeof yargs>

function asksForHelp(argv: readonly string[]): boolean {
  return argv.some((word) => word === '--help' || word === '-h')
}

/** A help of so many flags shows the first ones alone. */
const MANY = 25

/** @param everything whether the help shows more than the first flags of pairing */
function declareFlags(program: Program, flags: readonly Flag[], everything: boolean): Program {
  const short = !everything && flags.length > MANY
  for (const flag of flags) {
    const { name, arity, group, help, fallback, aliases, ignored } = flag
    program.option(name, {
      describe: help,
      group: `${group}:`,
      type: arity === 'switch' ? 'boolean' : 'string',
      hidden: ignored === true || (short && PAIRING_FLAGS.includes(flag) && !FIRST.has(name)),
      ...(aliases === undefined ? {} : { alias: aliases }),
      ...(fallback === undefined ? {} : { defaultDescription: fallback }),
    })
  }
  return program
}

const LOG_FLAGS = PAIRING_FLAGS.filter(({ group }) => group === 'Log')
const CHECK_FLAGS: readonly Flag[] = [
  ...PAIRING_FLAGS,
  { name: 'json', arity: 'switch', group: 'Log', help: 'print the findings as JSON' },
]

/** What a ping has no use for: it starts no command, accepts nobody and is over after one try. */
const NOT_FOR_PING: ReadonlySet<string> = new Set([
  'accept',
  'peer-info',
  'keep',
  'once',
  'result',
  'on-repeat',
  'allow-plain',
])

/** Those of an inviter that starts no command. */
const PING_FLAGS: readonly Flag[] = [
  ...PAIRING_FLAGS.filter(
    ({ name, group }) => group !== 'Command' && group !== 'Forwarding' && !NOT_FOR_PING.has(name),
  ),
  {
    name: 'count',
    arity: 'one',
    group: 'Pairing',
    value: 'n',
    help: 'number of echoes to send',
    fallback: '5',
  },
]

const WORMHOLE_FLAGS: readonly Flag[] = [
  ...FORWARDING_FLAGS,
  ...PAIRING_FLAGS.filter(({ name }) => name === 'wait'),
  {
    name: 'once',
    arity: 'switch',
    group: 'Script',
    help: 'exit when the tunnel ends; the default when plexus started it',
  },
  ...LOG_FLAGS,
]

const OF_NETWORK: ReadonlySet<string> = new Set([
  'stun-server',
  'stun-client',
  'candidates',
  'no-port-mapping',
  'state-dir',
  'config',
])

/** Those of the network that pairings go through. */
const NAT_FLAGS: readonly Flag[] = [
  ...PAIRING_FLAGS.filter(({ name }) => OF_NETWORK.has(name)),
  ...LOG_FLAGS.filter(({ name }) => name !== 'verbose'),
  {
    name: 'verbose',
    arity: 'switch',
    group: 'Log',
    help: 'show the evidence: every question and its answer',
    aliases: ['v'],
  },
  { name: 'json', arity: 'switch', group: 'Log', help: 'print the report as JSON' },
]

const STUN_FLAGS: readonly Flag[] = [
  { name: 'listen', arity: 'one', group: 'Network', value: 'ip:port', help: 'address and port to listen on' },
  {
    name: 'alternate',
    arity: 'one',
    group: 'Network',
    value: 'ip:port',
    help: 'second address and port, to tell NATs apart (RFC 5780)',
  },
  ...LOG_FLAGS,
]

const DHT_FLAGS: readonly Flag[] = [
  {
    name: 'listen',
    arity: 'one',
    group: 'Network',
    value: 'ip:port',
    help: 'address and port to listen on; not 0.0.0.0',
  },
  ...PAIRING_FLAGS.filter(({ name }) => name === 'dht-bootstrap'),
  ...LOG_FLAGS,
]

const RENDEZVOUS_FLAGS: readonly Flag[] = [
  ...PAIRING_FLAGS.filter(({ name }) => name === 'dht-bootstrap'),
  ...EMAIL_FLAGS,
  ...LOG_FLAGS,
]

const DEMO_FLAGS: readonly Flag[] = [
  { name: 'verbose', arity: 'switch', group: 'Log', help: 'show the log of both sides' },
]

/** The flags of every command. */
const ALL_FLAGS: readonly Flag[] = [
  ...PAIRING_FLAGS,
  ...ID_FLAGS,
  ...RENDEZVOUS_FLAGS,
  ...STUN_FLAGS,
  ...DHT_FLAGS,
  ...DEMO_FLAGS,
  ...CHECK_FLAGS,
  ...PING_FLAGS,
  ...WORMHOLE_FLAGS,
  ...NAT_FLAGS,
]

/** Those that a word may be; what the wormhole takes is for others a value, as in `--exec-args "--purpose=export"`. */
function flagsOf([command]: readonly string[]): readonly Flag[] {
  return command === 'wormhole' ? ALL_FLAGS : ALL_FLAGS.filter((flag) => !FORWARDING_FLAGS.includes(flag))
}

/** The commands that take words. */
const WITH_WORDS: readonly string[] = ['id', 'ping', 'rendezvous']

/** Every command, as it is typed. */
const COMMANDS: readonly string[] = [
  'id',
  'check',
  'ping',
  'nat',
  'wormhole',
  'stun-server',
  'dht-node',
  'rendezvous',
  'demo',
  'completion',
]

/** What is wrong with the words that are no flags. */
function misplaced(line: string, argv: readonly string[]): PlexusError {
  const command = argv.find((word) => WITH_WORDS.includes(word)) ?? ''
  const advice = `See plexus ${command} --help.`
  if (line.startsWith('Not enough non-option arguments')) {
    return new PlexusError('BAD_FLAG', `'plexus ${command}' needs an argument.`, { advice })
  }
  const [, given, choices] = /^Invalid values: Argument: \w+, Given: "(.*)", Choices: (.*)$/.exec(line) ?? []
  if (given !== undefined && choices !== undefined) {
    const names = choices.replaceAll('"', '')
    const meant = likely(given, names.split(', '))
    const sentence = `'plexus ${command}' does not know '${given}': use ${names.replace(/, (?=[^,]*$)/, ' or ')}.`
    return new PlexusError('BAD_FLAG', sentence, {
      advice: meant === undefined ? advice : `Did you mean 'plexus ${command} ${meant}'?`,
    })
  }
  return new PlexusError('BAD_FLAG', `${line.replace(/\.$/, '')}.`)
}

/** What yargs says, as one sentence that names the word and, for a mistyped one, what was meant. */
function refusal(message: string, argv: readonly string[]): PlexusError {
  const line = message
    .trim()
    .split(/\s*\n\s*/)
    .join(' ')
  const [, list] = /^Unknown (?:argument|command)s?: (.*)$/.exec(line) ?? []
  if (list === undefined) return misplaced(line, argv)
  const [name = ''] = list.split(', ')
  const word = argv.find((each) => /^--?/.test(each) && each.replace(/^--?/, '').split('=')[0] === name)
  const cluster = argv.find((each) => /^-[^-]/.test(each) && each.slice(1).includes(name))
  if (word === undefined && cluster === undefined) {
    const at = argv.indexOf(name)
    return unknownCommand(name, argv.slice(at + 1), COMMANDS)
  }
  // a value may be a secret, and is not repeated
  const shown = word?.split('=')[0] ?? `-${cluster?.[1] ?? name}`
  const visible = ALL_FLAGS.filter(({ ignored }) => !ignored)
  const names = visible.flatMap((flag) => [flag.name, ...(flag.aliases ?? [])])
  if (names.includes(name)) return new PlexusError('BAD_FLAG', `This command does not take ${shown}.`)
  return unknownFlag(
    shown,
    names.filter((each) => each.length > 1),
  )
}
