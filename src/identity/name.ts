import { PlexusError } from '../errors/index.js'

/** Who somebody is: `owner` is a mailbox by custom, `pin` names one of its machines. Both are names of directories. */
export interface IdentityName {
  readonly owner: string
  readonly pin: string
}

/** What a directory may be called on the common file systems, in bytes. */
const MAX_NAME = 255

/**
 * Nobody can see these, so nobody could tell two such names apart, and in a log they lie: control characters, line
 * ends, characters without a width, the marks that turn the direction of writing round, halves of characters, and what stands for bytes that are
 * no text.
 */
const INVISIBLE = /[\p{Cc}\p{Cs}\u2028\u2029\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffd]/u

/** Why `name` can be neither an owner nor a pin; nothing when it can. */
function objection(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name === '.' || name === '..') return 'would lead to another directory'
  if (/[/\\]/.test(name)) return 'contains a separator'
  if (INVISIBLE.test(name)) return 'contains a control character'
  if (name !== name.trim()) return 'begins or ends with a space'
  // two forms of one letter would be two identities that nobody can tell apart
  if (name !== name.normalize('NFC'))
    return 'has letters in a decomposed form of Unicode (NFD): write it in NFC'
  if (Buffer.byteLength(name) > MAX_NAME) return `is longer than ${MAX_NAME} bytes`
  return undefined
}

/** True when both parts are plain names: `$(id)`, `%peerip%` and spaces inside are, they are just characters. */
export function isIdentityName(name: IdentityName): boolean {
  return objection(name.owner) === undefined && objection(name.pin) === undefined
}

/** Checks a name that came as two parts, for example from a message. @throws PlexusError IDENTITY_NAME */
export function checkIdentityName(name: IdentityName): void {
  for (const [what, part] of [
    ['owner', name.owner],
    ['pin', name.pin],
  ] as const) {
    const why = objection(part)
    if (why) throw new PlexusError('IDENTITY_NAME', `The ${what} ${quoted(part)} ${why}.`)
  }
}

/** Reads `owner/pin`. @throws PlexusError IDENTITY_NAME */
export function parseIdentity(text: string): IdentityName {
  const parts = text.split('/')
  const [owner, pin] = parts
  if (parts.length !== 2 || owner === undefined || pin === undefined) {
    throw new PlexusError('IDENTITY_NAME', `${quoted(text)} is not an identity of the form owner/pin.`)
  }
  const name = { owner, pin }
  checkIdentityName(name)
  return name
}

/** `owner/pin`, as parseIdentity reads it. */
export function formatIdentity(name: IdentityName): string {
  return `${name.owner}/${name.pin}`
}

/** For a message to a person: in quotes, with what cannot be seen written out, and not endless. */
function quoted(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text
  return JSON.stringify(short).replace(new RegExp(INVISIBLE, 'gu'), (character) => {
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}
