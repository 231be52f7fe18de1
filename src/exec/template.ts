import { PlexusError } from '../errors/index.js'
import { isWildcardName, WILDCARDS, type WildcardName, type Wildcards } from './wildcards.js'

/** A text with holes: what stands between the wildcards, and the wildcards. */
export type Template = readonly Piece[]

type Piece = { readonly literal: string } | { readonly wildcard: WildcardName }

/** The flag that a template comes from: it decides which wildcards may stand in it. */
export type TemplateFlag = '--exec-args' | '--exec-env' | '--exec-pwd' | '--exec-log'

/**
 * What is read as a wildcard: a name of three characters or more between two percent signs. Shorter ones leave
 * `+%Y%m%d` alone, and a lone `%`, `%%` and `50%` mean themselves.
 */
const WILDCARD = /%([A-Za-z][A-Za-z0-9_-]{2,})%/g

/**
 * Reads the wildcards of a text.
 * @throws PlexusError BAD_EXEC_ARGS for an unknown one, and for the key where others could see it
 */
export function parseTemplate(text: string, flag: TemplateFlag): Template {
  const pieces: Piece[] = []
  let end = 0
  for (const match of text.matchAll(WILDCARD)) {
    const name = match[1] ?? ''
    if (!isWildcardName(name)) throw unknown(name, flag)
    refuseKey(name, flag)
    if (match.index > end) pieces.push({ literal: text.slice(end, match.index) })
    pieces.push({ wildcard: name })
    end = match.index + match[0].length
  }
  if (end < text.length) pieces.push({ literal: text.slice(end) })
  return pieces
}

export function mentions(template: Template, name: WildcardName): boolean {
  return template.some((piece) => 'wildcard' in piece && piece.wildcard === name)
}

/**
 * Fills in the values, each once: a value that looks like a wildcard stays as it is. An IPv6 address is bare, and
 * bracketed where a colon and a port wildcard follow, as in `%peerip%:%peerport%`.
 * @param keyFile the path that `%keyfile%` stands for
 */
export function fill(template: Template, values: Wildcards, keyFile: string): string {
  return template.map((piece, index) => filled(piece, template.slice(index + 1), values, keyFile)).join('')
}

function filled(piece: Piece, after: Template, values: Wildcards, keyFile: string): string {
  if ('literal' in piece) return piece.literal
  const { kind, value } = WILDCARDS[piece.wildcard]
  const text = value(values, keyFile)
  return kind === 'address' && text.includes(':') && beginsWithPort(after) ? `[${text}]` : text
}

function beginsWithPort([colon, port]: Template): boolean {
  if (colon === undefined || !('literal' in colon) || colon.literal !== ':') return false
  return port !== undefined && 'wildcard' in port && WILDCARDS[port.wildcard].kind === 'port'
}

/**
 * Fills in a path. A value names no directory and no file but the one it is part of: whatever is not a
 * letter, a digit or one of `@ . _ + = , : ~ [ ] -` becomes an underscore, so does a value of dots alone.
 */
export function fillPath(template: Template, values: Wildcards): string {
  return template
    .map((piece, index) => {
      if ('literal' in piece) return piece.literal
      const text = filled(piece, template.slice(index + 1), values, '')
      return text.replace(/[^\p{L}\p{N}@._+=,:~[\]-]/gu, '_').replace(/^\.+$/, '_')
    })
    .join('')
}

function unknown(name: string, flag: TemplateFlag): PlexusError {
  const known = (Object.keys(WILDCARDS) as WildcardName[])
    .filter((other) => allowed(other, flag))
    .map((other) => `%${other}%`)
  return new PlexusError('BAD_EXEC_ARGS', `${flag} has an unknown wildcard %${name}%.`, {
    advice: `The wildcards are ${known.join(' ')}.`,
  })
}

function allowed(name: WildcardName, flag: TemplateFlag): boolean {
  const { kind } = WILDCARDS[name]
  if (flag === '--exec-env') return true // only the command and its user see its environment
  return kind !== 'key' && (kind !== 'keyfile' || flag === '--exec-args')
}

function refuseKey(name: WildcardName, flag: TemplateFlag): void {
  if (allowed(name, flag)) return
  throw new PlexusError(
    'BAD_EXEC_ARGS',
    `%${name}% cannot be used in ${flag}, where other users could see it.`,
    {
      advice: 'The command finds the key in PLEXUS_KEY, and in the file that %keyfile% in --exec-args names.',
    },
  )
}
