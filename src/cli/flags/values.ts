import { isIP } from 'node:net'
import { join } from 'node:path'
import { PlexusError } from '../../errors/index.js'
import { type IdentityName, parseIdentity } from '../../identity/index.js'
import { type Endpoint, parseEndpoint, parseHostPort } from '../../net/index.js'
import { homeDirectory } from './defaults.js'
import type { Flag, Given } from './flags.js'

/** What was given for a flag, and how to name the place where it was given. */
export interface Setting {
  readonly value: unknown
  readonly label: string
}

/** A place where flags are given besides the command line, by the name of the flag. */
export type Source = (name: string) => Setting | undefined

/** Flags whose values may hold anything: words for a command, and secrets. */
const ANYTHING = /^exec-(?:args|env)$|-password$/

/**
 * Refuses what nobody sees: a carriage return of a file with the line ends of Windows, a space at an end, a character without a
 * width. It would be another value in silence.
 */
function refuseStray(name: string, label: string, value: string): void {
  if (ANYTHING.test(name)) return
  const stray = /[\p{Cc}\u00ad\u200b-\u200f\u2028\u2029\u2060\ufeff]/u.exec(value)?.[0]
  const why =
    stray === '\r'
      ? 'contains a carriage return: the file that sets it has Windows line ends'
      : stray !== undefined
        ? `contains an invisible character (U+${(stray.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')})`
        : value === value.trim()
          ? undefined
          : 'begins or ends with a space'
  if (why === undefined) return
  throw new PlexusError('BAD_FLAG', `${label} ${why}.`, { advice: 'Remove it.' })
}

/**
 * The values of flags, each checked when it is asked for; every refusal names the flag, the value and what was expected.
 * A flag that takes one value and is given twice is a mistake too. The command line goes before the other sources,
 * and an earlier source before a later one.
 */
export class Values {
  readonly #given: Given
  readonly #sources: readonly Source[]

  constructor(given: Given, sources: readonly Source[] = []) {
    this.#given = given
    this.#sources = sources
  }

  /** Where a flag was given: `--name`, a variable, or a line of a file; undefined if nowhere. */
  label(name: string): string | undefined {
    return this.#find(name)?.label
  }

  #find(name: string): Setting | undefined {
    const value = this.#given[name]
    if (value !== undefined) return { value, label: `--${name}` }
    for (const source of this.#sources) {
      const setting = source(name)
      if (setting !== undefined) return setting
    }
    return undefined
  }

  switch(name: string): boolean {
    const setting = this.#find(name)
    if (setting === undefined || typeof setting.value === 'boolean') return setting?.value === true
    const [value = '', ...more] = listOf(setting.value)
    if (more.length > 0) throw repeated(setting, more.length + 1)
    // a key without a value is a switch that is set, as in the files of plexus 3
    if (/^(|1|yes|on|true)$/i.test(value)) return true
    if (/^(0|no|off|false)$/i.test(value)) return false
    throw bad(setting.label, value, 'yes or no')
  }

  many(name: string): string[] {
    const setting = this.#find(name)
    if (setting === undefined) return []
    const list = listOf(setting.value)
    for (const item of list) {
      if (item === '') throw bad(setting.label, item, 'a value')
      refuseStray(name, setting.label, item)
    }
    return list
  }

  /** @param options.empty whether nothing is a value too */
  text(name: string, options: Pick<Flag, 'empty'> = {}): string | undefined {
    const setting = this.#find(name)
    if (setting === undefined) return undefined
    const [value = '', ...more] = listOf(setting.value)
    if (more.length > 0) throw repeated(setting, more.length + 1)
    if (value === '' && !options.empty) throw bad(setting.label, value, 'a value')
    refuseStray(name, setting.label, value)
    return value
  }

  required(name: string): string {
    return present(name, this.text(name))
  }

  /** A path; a leading `~/` is the home directory. */
  path(name: string): string | undefined {
    const value = this.text(name)
    return value?.startsWith('~/') ? join(homeDirectory(), value.slice(2)) : value
  }

  /** A whole number within bounds. */
  whole(name: string, least: number, most: number, fallback: number): number {
    const value = this.text(name)
    if (value === undefined) return fallback
    const number = Number(value)
    if (!/^\d{1,15}$/.test(value) || number < least || number > most) {
      throw this.wrong(name, `a whole number from ${least} to ${most}`)
    }
    return number
  }

  choice<T extends string, F extends T | undefined>(name: string, choices: readonly T[], fallback: F): T | F {
    const value = this.text(name)
    if (value === undefined) return fallback
    const found = choices.find((choice) => choice === value)
    if (found === undefined) throw this.wrong(name, `one of ${choices.join(', ')}`)
    return found
  }

  identity(name: string): IdentityName | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    return this.#read(name, value, 'an identity as owner/pin', parseIdentity)
  }

  /** Hosts and ports, several in a value with commas between. */
  hosts(name: string, defaultPort?: number): string[] {
    const list = this.many(name).flatMap((value) => value.split(','))
    const expected = defaultPort === undefined ? 'host:port' : 'host or host:port'
    for (const item of list) this.#read(name, item, expected, (text) => parseHostPort(text, defaultPort))
    return list
  }

  /** `ip[:port]`; port 0 leaves the choice to the system. */
  address(name: string): { address: string; port: number } | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    return this.#read(name, value, 'ip[:port], the ip in numbers', (text) => {
      const { host, port } = parseHostPort(text, 0)
      if (isIP(host) === 0) throw new PlexusError('BAD_ENDPOINT', `'${host}' is not an address.`)
      return { address: host, port }
    })
  }

  /** `ip:port`, or `ip` where there is a port to expect. */
  endpoint(name: string, defaultPort?: number): Endpoint | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    return this.#read(name, value, 'ip:port', (text) => parseEndpoint(text, defaultPort))
  }

  /** `from-to`: ports, both ends among them. */
  ports(name: string): { from: number; to: number } | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const [, low = '', high = ''] = /^(\d{1,5})-(\d{1,5})$/.exec(value) ?? []
    const [from, to] = [Number(low), Number(high)]
    if (from < 1 || to > 65_535 || from > to) throw this.wrong(name, 'two ports as from-to, 1 to 65535')
    return { from, to }
  }

  /** What a parser makes of the value. */
  parsed<T>(name: string, expected: string, parse: (text: string) => T): T {
    return this.#read(name, this.required(name), expected, parse)
  }

  /** What a parser makes of each of several values. */
  each<T>(name: string, expected: string, parse: (text: string) => T): T[] {
    return this.many(name).map((item) => this.#read(name, item, expected, parse))
  }

  /** The refusal of a flag's value. */
  wrong(name: string, expected: string, cause?: unknown): PlexusError {
    const setting = this.#find(name)
    return bad(setting?.label ?? `--${name}`, listOf(setting?.value).join(' '), expected, cause)
  }

  #read<T>(name: string, value: string, expected: string, parse: (text: string) => T): T {
    try {
      return parse(value)
    } catch (cause) {
      throw bad(this.label(name) ?? `--${name}`, value, expected, cause)
    }
  }
}

/** @throws PlexusError BAD_FLAG if there is no value */
export function present<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw new PlexusError('BAD_FLAG', `--${name} is missing.`)
  return value
}

function listOf(value: unknown): string[] {
  if (value === undefined) return []
  return (Array.isArray(value) ? value : [value]).map(String)
}

function repeated({ label }: Setting, times: number): PlexusError {
  return new PlexusError('BAD_FLAG', `${label} is given ${times} times, but takes one value.`)
}

function bad(label: string, value: string, expected: string, cause?: unknown): PlexusError {
  return new PlexusError('BAD_FLAG', `${label} is '${value}', but should be ${expected}.`, { cause })
}
