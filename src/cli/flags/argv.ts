import { PlexusError } from '../../errors/index.js'
import type { Flag } from './flags.js'

/**
 * Reads what a general parser would guess at: a value that stands in a word of its own is joined to its flag, so that it
 * may begin with dashes or be empty (`--exec-args "--purpose=export"`), a switch has no value, and is given once.
 * Words that are no known flag are left as they are, and so is everything behind `--`.
 * @throws PlexusError BAD_FLAG
 */
export function joinWords(argv: readonly string[], flags: readonly Flag[]): string[] {
  const byName = new Map<string, Flag>()
  for (const flag of flags) for (const name of [flag.name, ...(flag.aliases ?? [])]) byName.set(name, flag)
  const flagOf = (word: string | undefined) => byName.get(/^--([^=]+)/.exec(word ?? '')?.[1] ?? '')
  const joined: string[] = []
  const switches = new Set<string>()
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? ''
    if (word === '--') return [...joined, ...argv.slice(at)]
    const flag = flagOf(word)
    if (flag === undefined) joined.push(word)
    else if (flag.arity === 'switch') {
      if (switches.has(flag.name)) throw new PlexusError('BAD_FLAG', `--${flag.name} is given twice.`)
      switches.add(flag.name)
      joined.push(checkSwitch(word))
    } else if (word.includes('=')) {
      const [name = '', value = ''] = word.split(/=(.*)/s)
      joined.push(`${name}=${kept(value)}`)
    } else {
      const value = argv[++at]
      if (value === undefined || flagOf(value) !== undefined || value === '--') {
        throw new PlexusError('BAD_FLAG', `${word} is given without a value${expected(flag)}.`)
      }
      joined.push(`${word}=${kept(value)}`)
    }
  }
  return joined
}

/** A value in a form that reaches us as it is: yargs takes off quotes that begin and end one, as in `--exec-args="'a' 'b'"`. */
function kept(value: string): string {
  return /^(["']).*\1$/s.test(value) ? `"${value}"` : value
}

function expected({ value }: Flag): string {
  return value === undefined ? '' : `, but should be ${value}`
}

function checkSwitch(word: string): string {
  const [name = '', value] = word.split(/=(.*)/s)
  if (value !== undefined && value !== 'true' && value !== 'false') {
    throw new PlexusError('BAD_FLAG', `${name} is '${value}', but should be given without a value.`)
  }
  return word
}

/** The name that is most like a mistyped one, when they differ in a third of its letters at most, and in no more than two. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((name) => ({ name, distance: distance(word, name) }))
    .sort((one, other) => one.distance - other.distance)
  const most = Math.min(2, Math.max(1, Math.floor(word.length / 3)))
  return best && best.distance <= most ? best.name : undefined
}

/** How many letters have to be put in, taken out or exchanged (Levenshtein). */
function distance(from: string, to: string): number {
  let row = [...to, ''].map((_, index) => index)
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < to.length; j++) {
      const exchanged = (row[j] ?? 0) + (from[i] === to[j] ? 0 : 1)
      next.push(Math.min(exchanged, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
