import { PlexusError } from '../errors/index.js'

/**
 * What a peer is spoken with:
 * - `native`: the language of this program alone
 * - `auto`: invited in the native one, answered in whichever it speaks
 * - `plexus-3`: that of plexus 3.x alone
 */
export const DIALECTS = ['native', 'auto', 'plexus-3'] as const

export type Dialect = (typeof DIALECTS)[number]

/**
 * The one word in a file, with white space around it.
 * @throws PlexusError BAD_CONFIG
 */
export function parseDialect(text: string, path: string): Dialect {
  const word = text.trim()
  const found = DIALECTS.find((dialect) => dialect === word)
  if (found !== undefined) return found
  throw new PlexusError('BAD_CONFIG', `The file ${path} does not name a dialect.`, {
    advice: `Write one word in it: ${DIALECTS.join(', ')}.`,
  })
}
