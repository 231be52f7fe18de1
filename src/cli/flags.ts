import { homedir } from 'node:os'
import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import { type IdentityName, parseIdentity } from '../identity/index.js'
import { parseHostPort } from '../net/index.js'

/** A flag as the command line has it: what it means, and how often it may be given. */
export interface Flag {
  readonly name: string
  /** `switch` takes no value, `one` takes one, `many` may be repeated. */
  readonly arity: 'switch' | 'one' | 'many'
  readonly group: 'Pairing' | 'Network' | 'Command' | 'Log'
  /** What stands for the value in the help. */
  readonly value?: string
  readonly help: string
  readonly fallback?: string
}

const flag = (
  group: Flag['group'],
  arity: Flag['arity'],
  name: string,
  help: string,
  value?: string,
  fallback?: string,
): Flag => ({ name, arity, group, help, ...(value ? { value } : {}), ...(fallback ? { fallback } : {}) })

/** The flags of pairing: those of plexus 3.0 to 3.2 keep their names, meaning and defaults. */
export const PAIRING_FLAGS: readonly Flag[] = [
  flag('Pairing', 'switch', 'accept', 'wait for invites, for ever; without it invite the peer once'),
  flag('Pairing', 'one', 'app-id', 'the application: both sides name the same', 'name', 'plexus'),
  flag(
    'Pairing',
    'one',
    'app-repo',
    'the repository of identities',
    'dir',
    '/etc/plexus for root, else the XDG config folder',
  ),
  flag('Pairing', 'one', 'host-info', 'the own identity', 'owner/pin'),
  flag(
    'Pairing',
    'one',
    'peer-info',
    'the peer; an accepter without it accepts its whole repository',
    'owner/pin',
  ),
  flag(
    'Pairing',
    'many',
    'rendezvous',
    'where the sides meet: dht:, dir:/path, a package or ./module; repeatable',
    'url',
    'dht:',
  ),
  flag('Pairing', 'one', 'timeout', 'how long a pairing may take, in seconds', 's', '60'),
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
  ),
  flag('Network', 'one', 'stun-client', 'the local address and port to punch from', 'ip[:port]', 'any'),
  flag('Network', 'one', 'punch-hops', 'the TTL of the opening packets', 'n', '7'),
  flag(
    'Network',
    'many',
    'dht-bootstrap',
    'bootstrap nodes of the HyperDHT network',
    'host:port,…',
    'the public ones',
  ),
  flag(
    'Command',
    'one',
    'exec-command',
    'the program to start on a passage; without it the passage is printed',
    'path',
  ),
  flag(
    'Command',
    'one',
    'exec-args',
    'its arguments, with wildcards',
    'words',
    '%innerip% %innerport% %outerip% %outerport% %peerip% %peerport%',
  ),
  flag('Command', 'one', 'exec-pwd', 'its working directory', 'dir'),
  flag('Command', 'one', 'exec-log', 'a file for what it prints', 'file'),
  flag('Command', 'switch', 'exec-detach', 'let it go instead of supervising it'),
  flag(
    'Command',
    'one',
    'on-repeat',
    'a peer that pairs again while its command runs: replace, parallel or refuse',
    'what',
    'replace',
  ),
  flag('Log', 'one', 'log-level', 'fatal, error, warning, info, debug or trace', 'level', 'info'),
  flag('Log', 'one', 'log-file', 'a file instead of stderr; %p is the process id', 'file'),
  flag('Log', 'one', 'log-format', 'text or json', 'form', 'text'),
]

/** What was given on the command line, by the name of the flag. */
export type Given = Readonly<Record<string, unknown>>

/**
 * The values of flags, each checked when it is asked for; every refusal names the flag, the value and what was expected.
 * A flag that takes one value and is given twice is a mistake too.
 */
export class Values {
  readonly #given: Given

  constructor(given: Given) {
    this.#given = given
  }

  switch(name: string): boolean {
    return this.#given[name] === true
  }

  many(name: string): string[] {
    const value = this.#given[name]
    if (value === undefined) return []
    const list = (Array.isArray(value) ? value : [value]).map(String)
    for (const item of list) if (item === '') throw bad(name, item, 'a value')
    return list
  }

  text(name: string): string | undefined {
    const list = this.many(name)
    if (list.length > 1)
      throw new PlexusError('BAD_FLAG', `--${name} is given ${list.length} times, but takes one value.`)
    return list[0]
  }

  required(name: string): string {
    const value = this.text(name)
    if (value === undefined) throw new PlexusError('BAD_FLAG', `--${name} is missing.`)
    return value
  }

  /** A path; a leading `~/` is the home directory. */
  path(name: string): string | undefined {
    const value = this.text(name)
    return value?.startsWith('~/') ? join(homedir(), value.slice(2)) : value
  }

  /** A whole number within bounds. */
  whole(name: string, least: number, most: number, fallback: number): number {
    const value = this.text(name)
    if (value === undefined) return fallback
    const number = Number(value)
    if (!/^\d{1,15}$/.test(value) || number < least || number > most) {
      throw bad(name, value, `a whole number from ${least} to ${most}`)
    }
    return number
  }

  choice<T extends string>(name: string, choices: readonly T[], fallback: T): T {
    const value = this.text(name)
    if (value === undefined) return fallback
    const found = choices.find((choice) => choice === value)
    if (found === undefined) throw bad(name, value, `one of ${choices.join(', ')}`)
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
    for (const item of list) this.#read(name, item, 'host:port', (text) => parseHostPort(text, defaultPort))
    return list
  }

  /** `ip[:port]`; port 0 leaves the choice to the system. */
  address(name: string): { address: string; port: number } | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    return this.#read(name, value, 'ip[:port]', (text) => {
      const { host, port } = parseHostPort(text, 0)
      return { address: host, port }
    })
  }

  #read<T>(name: string, value: string, expected: string, parse: (text: string) => T): T {
    try {
      return parse(value)
    } catch (cause) {
      throw bad(name, value, expected, cause)
    }
  }
}

function bad(name: string, value: string, expected: string, cause?: unknown): PlexusError {
  return new PlexusError('BAD_FLAG', `--${name} is '${value}', but should be ${expected}.`, { cause })
}
