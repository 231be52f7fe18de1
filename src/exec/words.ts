import { PlexusError } from '../errors/index.js'

/**
 * Splits a line into words as a POSIX shell does (XCU 2.2 Quoting, 2.3 Token Recognition): single and double quotes,
 * backslashes, quoted parts that join to one word. There is no shell to do more, so whatever a shell would do
 * beyond that is refused instead of being passed on as text: operators, comments, expansions and patterns. A newline
 * separates words like a blank. Square brackets and braces stay as they are: `[%peerip%]:%peerport%` is a word.
 *
 * @throws PlexusError BAD_EXEC_ARGS naming the part that cannot be had
 */
export function splitWords(line: string): string[] {
  const words: string[] = []
  /** The word being read; undefined between words, so that `''` is a word and a blank is none. */
  let word: string | undefined
  let at = 0
  while (at < line.length) {
    const char = line.charAt(at)
    if (BLANK.includes(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
      at++
      continue
    }
    const part = readPart(line, at, word === undefined)
    // a line that is continued by a backslash is no word of its own
    if (part.text !== undefined) word = (word ?? '') + part.text
    at = part.end
  }
  if (word !== undefined) words.push(word)
  return words
}

const BLANK = ' \t\n'
const OPERATORS = '|&;<>()'

interface Part {
  /** What the part stands for; undefined if it stands for nothing, not even an empty word. */
  readonly text: string | undefined
  /** The index after it. */
  readonly end: number
}

/** One part of a word: a quoted string, an escaped character or a plain one. */
function readPart(line: string, at: number, first: boolean): Part {
  const char = line.charAt(at)
  if (char === "'") {
    const end = line.indexOf("'", at + 1)
    if (end < 0) throw refused(line, at, 'a quote that is not closed')
    return { text: line.slice(at + 1, end), end: end + 1 }
  }
  if (char === '"') return readDoubleQuoted(line, at)
  if (char === '\\') {
    if (at + 1 === line.length) throw refused(line, at, 'a backslash with nothing after it')
    const next = line.charAt(at + 1)
    return { text: next === '\n' ? undefined : next, end: at + 2 }
  }
  if (OPERATORS.includes(char)) throw refused(line, at, 'a shell operator')
  if (char === '*' || char === '?') throw refused(line, at, 'a pattern for file names')
  if (first && char === '#') throw refused(line, at, 'a comment')
  if (first && char === '~') throw refused(line, at, 'a home directory')
  refuseExpansion(line, at)
  return { text: char, end: at + 1 }
}

/** Between double quotes a backslash escapes only `$`, a backquote, `"`, itself and a newline (XCU 2.2.3). */
function readDoubleQuoted(line: string, start: number): Part {
  let text = ''
  for (let at = start + 1; at < line.length; at++) {
    const char = line.charAt(at)
    if (char === '"') return { text, end: at + 1 }
    if (char === '\\') {
      const next = line.charAt(++at)
      if (next === '\n') continue
      text += '$`"\\'.includes(next) ? next : `\\${next}`
      continue
    }
    refuseExpansion(line, at)
    text += char
  }
  throw refused(line, start, 'a quote that is not closed')
}

/** A dollar sign that begins no expansion is itself, as in `5$`. */
function refuseExpansion(line: string, at: number): void {
  const char = line.charAt(at)
  if (char === '`') throw refused(line, at, 'a command substitution')
  if (char === '$' && /[A-Za-z0-9_{('"@*#?$!-]/.test(line.charAt(at + 1))) {
    throw refused(line, at, 'a shell expansion')
  }
}

/** How much of the line an error shows from the offending part on: enough to find it, in characters. */
const SHOWN = 24

function refused(line: string, at: number, what: string): PlexusError {
  const rest = line.slice(at)
  const shown = rest.length > SHOWN ? `${rest.slice(0, SHOWN)}…` : rest
  return new PlexusError(
    'BAD_EXEC_ARGS',
    `--exec-args has ${what} at character ${at + 1}: ${JSON.stringify(shown)}.`,
    { advice: 'There is no shell: put literal text in single quotes.' },
  )
}
