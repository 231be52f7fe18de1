import { asPlexusError, PlexusError } from '../errors/index.js'
import { findProgram } from '../files/index.js'
import type { Logger } from '../net/index.js'
import type { Environment } from './environment.js'
import { mentions, parseTemplate, type Template } from './template.js'
import { splitWords } from './words.js'

/** What plexus 3.0 to 3.2 pass to a command that asks for nothing else. */
export const DEFAULT_EXEC_ARGS = '%innerip% %innerport% %outerip% %outerport% %peerip% %peerport%'

/** A command as the flags describe it. */
export interface CommandSpec {
  /** A path, or a name that is searched in PATH; never a line for a shell. */
  readonly command: string
  /** `--exec-args`: words with wildcards; DEFAULT_EXEC_ARGS without it. */
  readonly args?: string
  /** `--exec-env`: words `NAME=value` with wildcards, several in a text. */
  readonly environment?: readonly string[]
  /** `--exec-pwd`: the working directory, with wildcards. */
  readonly pwd?: string
  /** `--exec-log`: the file that its output is appended to, with wildcards. */
  readonly log?: string
  /** `--exec-detach`: started and let go. */
  readonly detach?: boolean
  /** Words that stand before all others, as they are. */
  readonly before?: readonly string[]
  /** What is started in its place for a peer of plexus 3. */
  readonly plexus3?: string
}

/** What a peer speaks. */
export type Language = 'native' | 'plexus-3'

/** A command that has been read: all that can be wrong with it before there are values has been found. */
export interface Command {
  readonly file: string
  readonly words: readonly Template[]
  /** Variables beyond those that every command gets, by name. */
  readonly environment: ReadonlyMap<string, Template>
  readonly pwd: Template | undefined
  readonly log: Template | undefined
  readonly detach: boolean
  /** What is started in its place for a peer of plexus 3, or why that cannot be; without it the same. */
  readonly plexus3?: Command | PlexusError
}

/**
 * The command for a peer that speaks this language.
 * @throws PlexusError COMMAND_MISSING if there is none for it
 */
export function commandFor(command: Command, language: Language): Command {
  const { plexus3 } = command
  if (language !== 'plexus-3' || plexus3 === undefined) return command
  if (plexus3 instanceof PlexusError) throw plexus3
  return plexus3
}

/**
 * Reads a command, before anything is sent. The line is split first and each word is filled in later, so
 * a value can never become two words.
 * @param options.env where PATH is looked up
 * @param options.log hears of `%secret%` in what other users of the machine can see, once
 * @throws PlexusError BAD_EXEC_ARGS, COMMAND_MISSING
 */
export function parseCommand(spec: CommandSpec, options: { env: Environment; log: Logger }): Command {
  const literal = (spec.before ?? []).map((word) => [{ literal: word }])
  const given = splitWords(spec.args ?? DEFAULT_EXEC_ARGS).map((word) => parseTemplate(word, '--exec-args'))
  const words = [...literal, ...given]
  const pwd = spec.pwd === undefined ? undefined : parseTemplate(spec.pwd, '--exec-pwd')
  const log = spec.log === undefined ? undefined : parseTemplate(spec.log, '--exec-log')
  const environment = parseVariables(spec.environment ?? [])
  const file = findProgram(spec.command, options.env.PATH)
  if ([...words, pwd ?? [], log ?? []].some((template) => mentions(template, 'secret'))) {
    options.log.warn(
      { command: file },
      'Other users of this machine can see %secret% in arguments and paths; the command also finds it in PLEXUS_SECRET.',
    )
  }
  const plexus3 = spec.plexus3 === undefined ? {} : { plexus3: replacement(spec, spec.plexus3, options) }
  return { file, words, environment, pwd, log, detach: spec.detach ?? false, ...plexus3 }
}

/** That it is missing matters only when it is needed. */
function replacement(
  spec: CommandSpec,
  file: string,
  options: Parameters<typeof parseCommand>[1],
): Command | PlexusError {
  const { before: _, plexus3: __, ...rest } = spec
  try {
    return parseCommand({ ...rest, command: file }, options)
  } catch (thrown) {
    return asPlexusError(thrown, 'COMMAND_MISSING')
  }
}

/** Whether a command asks for the key by name: then it is of no use where there is none. */
export function wantsKey({ words, environment }: Pick<Command, 'words' | 'environment'>): boolean {
  return [...words, ...environment.values()].some(
    (each) => mentions(each, 'key') || mentions(each, 'keyfile'),
  )
}

/** A name that every shell can read. */
const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s

function parseVariables(texts: readonly string[]): ReadonlyMap<string, Template> {
  const variables = new Map<string, Template>()
  for (const word of texts.flatMap(splitWords)) {
    const [, name, value = ''] = VARIABLE.exec(word) ?? []
    if (name === undefined)
      throw new PlexusError('BAD_EXEC_ARGS', `--exec-env has '${word}', but should have NAME=value.`)
    // what the command is told about the passage by those names is true
    if (name.startsWith('PLEXUS_'))
      throw new PlexusError('BAD_EXEC_ARGS', `--exec-env cannot set ${name}: plexus sets PLEXUS_ variables.`)
    variables.set(name, parseTemplate(value, '--exec-env'))
  }
  return variables
}
