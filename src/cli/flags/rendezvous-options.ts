import { splitWords } from '../../exec/index.js'
import type { Logger } from '../../net/index.js'
import { EMAIL_FLAGS } from './flags.js'
import type { Values } from './values.js'

/** Options whose value is a path, and those whose value is a command: a program and its arguments. */
const PATHS = ['email-password-file', 'email-token-file', 'email-ca', 'email-cert', 'email-key']
const COMMANDS = ['email-password-command', 'email-token-command']

/** By the names of the flags. */
export type RendezvousOptions = Readonly<Record<string, string | readonly string[] | undefined>>

/** What the flags say to the rendezvous that they configure. @throws PlexusError BAD_FLAG, BAD_EXEC_ARGS */
export function rendezvousOptions(values: Values): RendezvousOptions {
  const options: Record<string, string | readonly string[]> = {}
  const bootstrap = values.hosts('dht-bootstrap')
  if (bootstrap.length > 0) options['dht-bootstrap'] = bootstrap
  for (const { name, arity } of EMAIL_FLAGS) {
    const value = arity === 'switch' ? (values.switch(name) ? 'yes' : undefined) : settingOf(values, name)
    if (value !== undefined) options[name] = value
  }
  return options
}

function settingOf(values: Values, name: string): string | readonly string[] | undefined {
  if (PATHS.includes(name)) return values.path(name)
  const text = values.text(name)
  return text !== undefined && COMMANDS.includes(name) ? splitWords(text) : text
}

/** Where the sides meet: what is named, else the account that is described, else the DHT. */
export function rendezvousUrls(values: Values): readonly string[] {
  const urls = values.many('rendezvous')
  if (urls.length > 0) return urls
  return values.label('email-smtps') || values.label('email-imaps') ? ['email:'] : ['dht:']
}

/** Says what nobody may have meant: a secret that everybody can see, an account without a use. */
export function announceEmail(values: Values, urls: readonly string[], log: Logger): void {
  if (values.label('email-password') === '--email-password') {
    log.warn(
      {},
      'every user of this machine can see --email-password: give it in PLEXUS_OPT_EMAIL_PASSWORD, --email-password-file or --config',
    )
  }
  const [given] = EMAIL_FLAGS.flatMap(({ name }) => values.label(name) ?? [])
  if (given !== undefined && !urls.some((url) => url.startsWith('email:'))) {
    log.warn({}, `${given} has no effect: add --rendezvous=email:`)
  }
}
