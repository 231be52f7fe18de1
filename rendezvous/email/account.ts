import { createHash } from 'node:crypto'
import { PlexusError } from '../../src/errors/index.js'
import type { RendezvousContext } from '../interface.js'
import { type Credential, credentialOf } from './credential.js'
import { Trust } from './trust.js'

/** A mail server as a flag names it. */
export interface Server {
  readonly host: string
  readonly port: number
  /** TLS from the first byte, or by STARTTLS before anything is said. There is no third way. */
  readonly tls: 'implicit' | 'starttls'
}

/** Where mail is handed in and where it arrives, and as whom. */
export interface Account {
  readonly submission: Server
  readonly mailbox: Server
  readonly login: string
  readonly credential: Credential
  readonly trust: Trust
  /** The folder that messages come to. */
  readonly folder: string
  /** Whether consumed and stale messages are left where they are. */
  readonly keep: boolean
}

type Options = RendezvousContext['options']

/** The default ports of a kind of server: RFC 8314 for implicit TLS, RFC 6409 and RFC 9051 for STARTTLS. */
const SUBMISSION = { scheme: 'smtp', implicit: 465, starttls: 587 } as const
const MAILBOX = { scheme: 'imap', implicit: 993, starttls: 143 } as const

/** The account that the flags describe. @throws PlexusError BAD_FLAG, KEY_READABLE */
export function accountOf({ options, environment }: RendezvousContext): Account {
  const login = required(options, 'email-login')
  return {
    submission: serverOf(options, 'email-smtps', SUBMISSION),
    mailbox: serverOf(options, 'email-imaps', MAILBOX),
    login,
    credential: credentialOf(options, environment),
    trust: new Trust(
      { ca: text(options, 'email-ca'), cert: text(options, 'email-cert'), key: text(options, 'email-key') },
      environment,
    ),
    folder: text(options, 'email-folder') ?? 'INBOX',
    keep: text(options, 'email-keep') !== undefined,
  }
}

/** A name for what was read of a folder of an account, for a file. */
export function accountName({ mailbox, login, folder }: Account): string {
  return createHash('sha256')
    .update(JSON.stringify([mailbox.host, mailbox.port, login, folder]))
    .digest('hex')
    .slice(0, 16)
}

/** The one value of an option. @throws PlexusError BAD_FLAG if there are several */
export function text(options: Options, name: string): string | undefined {
  const value = options[name]
  if (value === undefined || typeof value === 'string') return value
  throw new PlexusError('BAD_FLAG', `--${name} takes one value.`)
}

function required(options: Options, name: string): string {
  const value = text(options, name)
  if (value === undefined || value === '')
    throw new PlexusError('BAD_FLAG', `--${name} is missing: email: needs it.`)
  return value
}

/**
 * `host`, `host:port` or a URL: `smtps:` and `imaps:` are TLS from the first byte, as is a value without a scheme;
 * `smtp:` and `imap:` are STARTTLS.
 */
function serverOf(options: Options, name: string, kind: typeof SUBMISSION | typeof MAILBOX): Server {
  const value = required(options, name)
  const expected = `host[:${kind.implicit}], or ${kind.scheme}://host[:${kind.starttls}] for STARTTLS`
  const wrong = new PlexusError('BAD_FLAG', `--${name} is '${value}', but should be ${expected}.`)
  const [, scheme = `${kind.scheme}s`, rest = ''] = /^(?:([a-z]+):\/\/)?(.*)$/i.exec(value) ?? []
  const tls =
    scheme.toLowerCase() === `${kind.scheme}s`
      ? 'implicit'
      : scheme.toLowerCase() === kind.scheme
        ? 'starttls'
        : undefined
  // any scheme that has no port of its own keeps the one that is given
  const address = URL.canParse(`tls://${rest}`) ? new URL(`tls://${rest}`) : undefined
  const { hostname = '', port = '', username = '', pathname = '', search = '', hash = '' } = address ?? {}
  const more = username + search + hash + pathname.replace(/^\/$/, '')
  if (tls === undefined || hostname === '' || port === '0' || more !== '') throw wrong
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? kind[tls] : Number(port), tls }
}
