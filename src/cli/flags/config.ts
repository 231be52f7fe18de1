import { readFileSync } from 'node:fs'
import { codeOf, PlexusError } from '../../errors/index.js'
import type { Flag } from './flags.js'
import type { Setting } from './values.js'

/** The largest file that is read as a configuration, in characters: a hundred flags need a hundredth of it. */
const MAX_LENGTH = 1 << 20

/** A flag as a configuration file has it. */
interface Entry {
  readonly values: string[]
  readonly lines: number[]
}

/**
 * Reads a configuration file.
 * @throws PlexusError BAD_FLAG if it cannot be read, BAD_CONFIG if it is wrong
 */
export function readConfig(path: string, flags: readonly Flag[]): (name: string) => Setting | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const code = codeOf(cause)
    throw new PlexusError(
      'BAD_FLAG',
      `--config is '${path}', but should be a file that can be read (${code}).`,
      { cause },
    )
  }
  return parseConfig(text, path, flags)
}

/**
 * Reads the text of a configuration: a line `name=value` for each flag, as plexus 3 does (boost's program_options).
 * `#` begins a comment wherever it stands, blanks around name and value do not count, quotes are part of the value. A
 * flag that may be repeated has a line for each value. There are no sections.
 * @param path names the file in refusals
 * @throws PlexusError BAD_CONFIG, naming the file and the line
 */
export function parseConfig(
  text: string,
  path: string,
  flags: readonly Flag[],
): (name: string) => Setting | undefined {
  const wrong = (line: number, what: string) =>
    new PlexusError('BAD_CONFIG', `${path}, line ${line}: ${what}.`)
  if (text.length > MAX_LENGTH) throw wrong(1, `the file is longer than ${MAX_LENGTH} characters`)
  const known = new Map<string, Flag>()
  for (const flag of flags) for (const name of [flag.name, ...(flag.aliases ?? [])]) known.set(name, flag)
  const entries = new Map<string, Entry>()
  for (const [index, raw] of text.split('\n').entries()) {
    const line = (raw.split('#')[0] ?? '').trim()
    if (line === '') continue
    const at = index + 1
    if (line.startsWith('['))
      throw wrong(at, `'${shown(line)}' is a section, but only lines name=value are allowed`)
    const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(line) ?? []
    if (name === '') {
      const form = known.get(line)?.arity === 'switch' ? `${line}=true` : 'name=value'
      throw wrong(at, `'${shown(line)}' should be ${form}`)
    }
    const flag = known.get(name.trim())
    if (flag === undefined || flag.name === 'config') throw wrong(at, `'${shown(name.trim())}' is not a flag`)
    const entry = entries.get(flag.name) ?? { values: [], lines: [] }
    if (entry.values.length > 0 && flag.arity !== 'many') {
      throw wrong(at, `'${name.trim()}' is already set in line ${entry.lines[0]}, but takes one value`)
    }
    entry.values.push(value.trim())
    entry.lines.push(at)
    entries.set(flag.name, entry)
  }
  return (name) => {
    const entry = entries.get(name)
    if (entry === undefined) return undefined
    return { value: entry.values, label: `'${name}' in ${path}, line ${entry.lines.join(', ')},` }
  }
}

/** What a file says, short enough for one line of an error. */
function shown(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
