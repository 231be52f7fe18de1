import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { codeOf, codeWord, PlexusError } from '../errors/index.js'
import { checkProgram, type Output, openOutput, whyUnwritable } from '../files/index.js'
import type { Clock, Logger } from '../net/index.js'
import { type Command, wantsKey } from './command.js'
import { commandEnvironment, type Environment } from './environment.js'
import { type KeyFile, openKeyFile, writeKeyFile } from './key-file.js'
import { type Child, Detached, Supervised } from './supervision.js'
import { fill, fillPath } from './template.js'
import type { Wildcards } from './wildcards.js'

export interface StartOptions {
  readonly clock: Clock
  readonly log: Logger
  /** The environment that the command inherits, without `PLEXUS_OPT_*`. */
  readonly env: Environment
  /** Stops the command when aborted; before it was started, keeps it from starting. */
  readonly signal?: AbortSignal
}

/** What stands for a key file where there is no key. */
const NO_FILE: KeyFile = { path: '', remove: async () => {} }

/** Where a detached command finds its key: after standard input, output and error. */
const KEY_DESCRIPTOR = 3

/**
 * Starts a command with the values of a passage: an argument list, never a shell; its own session and process group, so
 * it has no controlling terminal.
 *
 * Its input is this program's for an inviter, else empty. Its output goes to `--exec-log`, else where this program's
 * output goes for an inviter, and for an accepter, whose standard output is nobody's, all of it to standard error. The
 * file behind `%keyfile%` is removed when the command ends. A detached command gets `/dev/fd/3` instead, a file
 * that is removed already: it lasts as long as the command keeps the descriptor.
 *
 * @throws PlexusError COMMAND_MISSING, EXEC_PWD, EXEC_LOG, STATE_DIRECTORY; DIALECT if it asks for a key that there is not;
 *   the signal's reason
 */
export async function start(command: Command, values: Wildcards, options: StartOptions): Promise<Child> {
  options.signal?.throwIfAborted()
  checkProgram(command.file)
  if (values.key === undefined && wantsKey(command)) throw keyless()
  const pwd = command.pwd === undefined ? undefined : fillPath(command.pwd, values)
  if (pwd !== undefined) requireDirectory(pwd)
  const output = command.log === undefined ? undefined : openLog(fillPath(command.log, values))
  try {
    return command.detach
      ? await startDetached(command, values, options, pwd, output)
      : await startSupervised(command, values, options, pwd, output)
  } finally {
    output?.close()
  }
}

async function startSupervised(
  command: Command,
  values: Wildcards,
  options: StartOptions,
  pwd: string | undefined,
  output: Output | undefined,
): Promise<Child> {
  const key = values.key === undefined ? NO_FILE : await writeKeyFile(values.key, options.env)
  try {
    options.signal?.throwIfAborted()
    const input = values.role === 'inviter' ? 'inherit' : 'ignore'
    const process = await spawned(command, values, options, key.path, pwd, [
      input,
      ...outputs(values, output),
    ])
    return new Supervised(process, { ...options, key })
  } catch (thrown) {
    await key.remove()
    throw thrown
  }
}

async function startDetached(
  command: Command,
  values: Wildcards,
  options: StartOptions,
  pwd: string | undefined,
  output: Output | undefined,
): Promise<Child> {
  const key = values.key === undefined ? undefined : await openKeyFile(values.key, options.env)
  try {
    options.signal?.throwIfAborted()
    const stdio: StdioOptions = ['ignore', ...outputs(values, output), ...(key ? [key.fd] : [])]
    const path = `/dev/fd/${KEY_DESCRIPTOR}`
    return new Detached(await spawned(command, values, options, path, pwd, stdio), options.log)
  } finally {
    await key?.close()
  }
}

/** Standard output and standard error. */
function outputs(values: Wildcards, output: Output | undefined): (number | 'inherit')[] {
  if (output !== undefined) return [output.fd, output.fd]
  return values.role === 'inviter' ? ['inherit', 'inherit'] : [2, 2]
}

/** Resolves when the system runs the command, with its process. */
function spawned(
  command: Command,
  values: Wildcards,
  options: StartOptions,
  keyFile: string,
  cwd: string | undefined,
  stdio: StdioOptions,
): Promise<ChildProcess> {
  const words = command.words.map((word) => fill(word, values, keyFile))
  const variables = [...command.environment].map(([name, value]) => [name, fill(value, values, keyFile)])
  const failed = (cause: unknown) =>
    new PlexusError(
      'COMMAND_MISSING',
      `The command ${command.file} could not be started (${codeWord(cause)}).`,
      { cause },
    )
  return new Promise((resolve, reject) => {
    try {
      const process = spawn(command.file, words, {
        cwd,
        env: { ...commandEnvironment(options.env, values, keyFile), ...Object.fromEntries(variables) },
        stdio,
        shell: false,
        detached: true,
      })
      process.once('error', (cause) => reject(failed(cause)))
      process.once('spawn', () => resolve(process))
    } catch (cause) {
      // a zero byte in an argument, for one, is told at once
      reject(failed(cause))
    }
  })
}

/** Where the command is to run. @throws PlexusError EXEC_PWD */
export function requireDirectory(path: string): void {
  let why = 'is not a directory'
  try {
    if (statSync(path).isDirectory()) {
      accessSync(path, constants.X_OK)
      return
    }
  } catch (cause) {
    const code = codeOf(cause)
    why = code === 'ENOENT' ? 'does not exist' : `cannot be used (${code ?? cause})`
  }
  throw new PlexusError('EXEC_PWD', `The working directory ${path} of the command ${why}.`)
}

/** What the output of a command is appended to. @throws PlexusError EXEC_LOG */
function openLog(path: string): Output {
  try {
    return openOutput(path)
  } catch (cause) {
    throw logError(path, cause)
  }
}

/** Why there can be no log at a path. */
export function logError(path: string, cause: unknown): PlexusError {
  return new PlexusError('EXEC_LOG', `The log of the command: ${whyUnwritable(path, cause)}.`, { cause })
}

/** Why a command that asks for the key is of no use with a plexus 3.x peer. */
export function keyless(): PlexusError {
  return new PlexusError(
    'DIALECT',
    'The command uses %key% or %keyfile%, but with a plexus 3.x peer there is no key, only 64 shared bits.',
    {
      advice: 'Use %secret% in commands for plexus 3.x peers, and let the command encrypt by itself.',
    },
  )
}
