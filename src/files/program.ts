import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { codeOf, PlexusError } from '../errors/index.js'
import { requireSafe } from './safe-path.js'

/** Where a program is looked for when no PATH is set, as in confstr(_CS_PATH). */
const DEFAULT_PATH = '/bin:/usr/bin'

/**
 * The absolute path of a program: a name with a slash is a path, any other is searched in the absolute directories
 * of `path`.
 * @param options.advice what to do when there is none, for a command that is not that of --exec-command
 * @throws PlexusError COMMAND_MISSING if there is none that this user may run; COMMAND_WRITABLE if others decide what it is
 */
export function findProgram(
  name: string,
  path: string = DEFAULT_PATH,
  options: { readonly advice?: string } = {},
): string {
  try {
    return search(name, path)
  } catch (thrown) {
    const { advice } = options
    if (!(thrown instanceof PlexusError) || thrown.code !== 'COMMAND_MISSING' || !advice) throw thrown
    throw new PlexusError('COMMAND_MISSING', thrown.message, { advice, cause: thrown.cause })
  }
}

function search(name: string, path: string): string {
  if (name === '') throw new PlexusError('COMMAND_MISSING', 'The command is empty.')
  if (name.includes('/')) {
    const file = resolve(name)
    checkProgram(file)
    return file
  }
  // an empty or relative entry would make the current directory decide what runs
  const directories = path.split(delimiter).filter(isAbsolute)
  const found = directories.map((directory) => join(directory, name)).find(isExecutable)
  if (found === undefined) throw missing(`The command ${name} is not in any directory of PATH`)
  checkProgram(found)
  return found
}

/**
 * Makes sure that the system can run a file by itself, and that nobody but root and this user decides what runs.
 *
 * execvp(3) hands a text without `#!` to a shell, and reports a script whose interpreter is missing as missing itself:
 * both are told here, by name, before anything is sent.
 * @throws PlexusError COMMAND_MISSING, COMMAND_WRITABLE
 */
export function checkProgram(file: string): void {
  let head: Buffer
  try {
    if (!statSync(file).isFile()) throw missing(`The command ${file} is not a file`)
    accessSync(file, constants.X_OK)
    head = readHead(file)
  } catch (cause) {
    if (cause instanceof PlexusError) throw cause
    throw missing(`The command ${file} cannot be run (${codeOf(cause)})`, cause)
  }
  // the very program that runs is trusted already
  if (file !== process.execPath) requireSafe(file, `The command ${file}`, 'COMMAND_WRITABLE')
  if (head.toString('latin1', 0, 2) !== '#!') {
    // a program is binary and so has a zero byte in its header; a text has none
    if (head.includes(0)) return
    throw new PlexusError(
      'COMMAND_MISSING',
      `The command ${file} is a script without #! in its first line.`,
      {
        advice: 'Begin it with #!/bin/sh, or with the interpreter that it is written for.',
      },
    )
  }
  const interpreter = /^#![ \t]*([^ \t\n]+)/.exec(head.toString())?.[1]
  if (interpreter === undefined || !isExecutable(resolve(interpreter))) {
    throw missing(`The command ${file} names an interpreter that cannot be run (${interpreter ?? 'none'})`)
  }
  requireSafe(resolve(interpreter), `The interpreter ${interpreter} of ${file}`, 'COMMAND_WRITABLE')
}

/** What Linux reads of a file to find out how to run it: BINPRM_BUF_SIZE, in bytes. */
const HEAD = 256

/** The first bytes of a file. A program that may be run but not read is trusted to be one. */
function readHead(file: string): Buffer {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (cause) {
    if (codeOf(cause) === 'EACCES') return Buffer.of(0)
    throw cause
  }
  try {
    const head = Buffer.alloc(HEAD)
    return head.subarray(0, readSync(fd, head, 0, HEAD, 0))
  } finally {
    closeSync(fd)
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

function missing(sentence: string, cause?: unknown): PlexusError {
  return new PlexusError('COMMAND_MISSING', `${sentence}.`, { cause })
}
