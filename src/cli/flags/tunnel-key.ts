import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { codeOf, PlexusError } from '../../errors/index.js'
import { exposure } from '../../files/index.js'
import type { Values } from './values.js'

/** The length of a key, in bytes, and the most that a file with one in base64 holds. */
const LENGTH = 32
const LONGEST_FILE = 256

const BASE64 = /^[A-Za-z0-9+/_-]{43}=?$/

/** What plexus tells its commands, as far as the key is concerned. */
interface Environment {
  readonly PLEXUS_KEY?: string | undefined
  readonly PLEXUS_KEY_FILE?: string | undefined
}

/**
 * The key of a tunnel: the file of `--key-file`, else what plexus put into the environment of its command.
 * @throws PlexusError TUNNEL_KEY: without a key nothing is opened
 */
export function tunnelKey(values: Values, environment: Environment): Buffer {
  const path = values.path('key-file')
  if (path !== undefined) return keyInFile(path, '--key-file')
  if (environment.PLEXUS_KEY) return keyOf(Buffer.from(environment.PLEXUS_KEY), 'PLEXUS_KEY')
  if (environment.PLEXUS_KEY_FILE) return keyInFile(environment.PLEXUS_KEY_FILE, 'PLEXUS_KEY_FILE')
  throw new PlexusError('TUNNEL_KEY', 'There is no key: a tunnel without one would be open to everybody.')
}

function keyInFile(path: string, label: string): Buffer {
  const wrong = (why: string, advice?: string, cause?: unknown) =>
    new PlexusError('TUNNEL_KEY', `${label} is '${path}', ${why}.`, { ...(advice ? { advice } : {}), cause })
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    throw wrong(`which cannot be read (${codeOf(cause)})`, undefined, cause)
  }
  try {
    const found = exposure(path, fstatSync(fd))
    if (found) throw wrong(`which ${found.why}`, `${found.remedy.replace(/\.$/, '')}, and make a new key.`)
    const content = Buffer.alloc(LONGEST_FILE)
    return keyOf(content.subarray(0, readSync(fd, content, 0, LONGEST_FILE, 0)), label)
  } catch (cause) {
    if (cause instanceof PlexusError) throw cause
    throw wrong(`which cannot be read (${codeOf(cause)})`, undefined, cause)
  } finally {
    closeSync(fd)
  }
}

/** @param content 32 bytes as they are, or in base64 with white space around them */
function keyOf(content: Buffer, label: string): Buffer {
  if (content.length === LENGTH) return content
  const text = content.toString('latin1').trim()
  const key = BASE64.test(text) ? Buffer.from(text, 'base64') : undefined
  if (key?.length === LENGTH) return key
  throw new PlexusError('TUNNEL_KEY', `${label} holds no key of ${LENGTH} bytes, as they are or in base64.`, {
    advice: 'Make one with: (umask 077; openssl rand -base64 32 > key), and bring it to both sides.',
  })
}
