import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { PlexusError } from '../../src/errors/index.js'
import { findProgram } from '../../src/files/index.js'
import type { RendezvousContext } from '../interface.js'
import { readSecretFile } from './secret-file.js'

/** What proves to the servers who logs in: a password, or an OAuth 2 token by XOAUTH2. */
export type Secret =
  | { readonly is: 'password'; readonly value: string }
  | { readonly is: 'token'; readonly value: string }

/** Where the secret is got from, anew at each login. */
export interface Credential {
  /** @throws PlexusError EMAIL_LOGIN if there is none, RENDEZVOUS_UNREACHABLE if there may be one later, KEY_READABLE if others can read it, or the signal's reason */
  get(signal: AbortSignal): Promise<Secret>
}

/** The options that name a secret, and where each has it. */
const SOURCES = [
  ['email-password', 'password', 'value'],
  ['email-password-file', 'password', 'file'],
  ['email-password-command', 'password', 'command'],
  ['email-token-file', 'token', 'file'],
  ['email-token-command', 'token', 'command'],
] as const

/** How long a command may take to print the secret, in ms: it may ask another server for a token. */
const COMMAND_TIME = 30_000
/** The exit code of a command that may succeed later (EX_TEMPFAIL of sysexits.h): what it asks cannot be reached. */
const LATER = 75
/** Characters of the longest secret: tokens are JSON web tokens at worst. */
const LONGEST = 16_384

/**
 * The credential of the options.
 * @throws PlexusError BAD_FLAG if there is none, or more than one; COMMAND_MISSING, COMMAND_WRITABLE
 */
export function credentialOf(
  options: RendezvousContext['options'],
  environment: RendezvousContext['environment'] = {},
): Credential {
  const given = SOURCES.filter(([name]) => options[name] !== undefined)
  const [source] = given
  if (source === undefined)
    throw new PlexusError('BAD_FLAG', '--email-password-file, or another flag with the password, is missing.')
  if (given.length > 1)
    throw new PlexusError('BAD_FLAG', `Give one of ${given.map(([name]) => `--${name}`).join(' and ')}.`)
  const [name, is, from] = source
  const words = [options[name] ?? []].flat()
  // found now, and anew at each login: it may have been replaced since
  const program = () =>
    findProgram(words[0] ?? '', environment.PATH, { advice: `Give --${name} the path of a program.` })
  if (from === 'command') program()
  return {
    async get(signal) {
      signal.throwIfAborted()
      const found = from === 'command' ? [program(), ...words.slice(1)] : words
      const text = await read(from, found, signal).catch((cause: unknown) => {
        signal.throwIfAborted()
        if (cause instanceof PlexusError) throw cause
        const { code = cause, killed } = cause as { code?: unknown; killed?: unknown }
        if (from === 'command' && (code === LATER || killed === true))
          throw new PlexusError('RENDEZVOUS_UNREACHABLE', `--${name} gives no password at the moment.`)
        throw missing(name, String(code), cause)
      })
      // the line end, and the mark that some editors begin a file with, are those of the file, not of the secret
      const value = from === 'value' ? text : text.replace(/^\ufeff/, '').replace(/\r?\n$/, '')
      if (value === '' || value.length > LONGEST || /[\0\r\n]/.test(value))
        throw missing(name, `what it names is ${value === '' ? 'empty' : 'not one line'}`)
      return { is, value }
    },
  }
}

async function read(
  from: (typeof SOURCES)[number][2],
  words: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const [first = '', ...args] = words
  if (from === 'value') return first
  if (from === 'file') return readSecretFile(first).toString('utf8')
  const { stdout } = await promisify(execFile)(first, args, {
    signal,
    timeout: COMMAND_TIME,
    maxBuffer: LONGEST,
    shell: false,
  })
  return stdout
}

function missing(name: string, why: string, cause?: unknown): PlexusError {
  // the cause of a command that failed has its output in it, which may be the secret
  return new PlexusError('EMAIL_LOGIN', `--${name} gives no password (${why.slice(0, 100)}).`, {
    advice: `Check what --${name} names.`,
    ...(cause === undefined || name.endsWith('command') ? {} : { cause }),
  })
}
