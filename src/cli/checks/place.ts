import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PlexusError } from '../../errors/index.js'
import type { Command } from '../../exec/index.js'
import { type Logger, silent } from '../../net/index.js'
import { commandOf } from '../flags/command.js'
import type { Values } from '../flags/values.js'
import { type Finding, found, ok, warn } from './finding.js'

/** The state directory: that it can be made and written. */
export async function checkStateDirectory(directory: string): Promise<Finding[]> {
  const what = 'state'
  const probe = join(directory, `.check-${process.pid}`)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await writeFile(probe, '', { flag: 'wx', mode: 0o600 })
    await rm(probe)
  } catch (cause) {
    const why = (cause as { code?: unknown }).code ?? cause
    const sentence = `The state directory '${directory}' cannot be written (${why}).`
    return [found(what, new PlexusError('STATE_DIRECTORY', sentence, { cause }))]
  }
  const { mode } = await stat(directory)
  if ((mode & 0o022) === 0) return [ok(what, `${directory} can be written.`)]
  return [warn(what, `Other users may write to ${directory}.`, `Run chmod 700 ${directory}`)]
}

/** The command: that it is there and can be run, that its words and wildcards can be read, its working directory. */
export async function checkCommand(values: Values): Promise<Finding[]> {
  const what = 'command'
  const findings: Finding[] = []
  const listening: Logger = {
    ...silent,
    warn: (_fields, message) => {
      findings.push(warn(what, message, 'Have the command read the environment instead.'))
    },
  }
  let command: Command | undefined
  try {
    command = commandOf(values, listening)
  } catch (thrown) {
    return [found(what, thrown)]
  }
  if (
    command === undefined &&
    ['export', 'import', 'stdio'].some((name) => values.label(name) !== undefined)
  ) {
    return [ok(what, 'None: the hole is used by a tunnel.')]
  }
  if (command === undefined) return [ok(what, 'None: the addresses are printed.')]
  return findings.length > 0 ? findings : [ok(what, `${command.file} can be run.`)]
}
