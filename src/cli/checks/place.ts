import type { Command } from '../../exec/index.js'
import { type Logger, silent } from '../../net/index.js'
import { openStateFolder } from '../../place/index.js'
import { commandOf } from '../flags/command.js'
import { logFileOf, logSettings } from '../flags/log.js'
import { programSettings } from '../flags/program.js'
import type { Values } from '../flags/values.js'
import type { LogLevel } from '../output/log.js'
import { ResultFile } from '../output/result.js'
import { type Finding, found, ok, warn } from './finding.js'

/** The state directory: made and judged as the start does. */
export async function checkStateDirectory(base: string, owner: string): Promise<Finding[]> {
  try {
    return [ok('state', `${await openStateFolder(base, owner)} can be written.`)]
  } catch (thrown) {
    return [found('state', thrown)]
  }
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

/** The flags together, as the start reads them: what else is wrong with them is found on its own. */
export function checkFlags(values: Values): Finding[] {
  // a look at a machine may be without either
  if (values.label('accept') === undefined && values.label('peer-info') === undefined) return []
  const closed = (values: Values, level: LogLevel) => {
    logSettings(values, level)
    return silent
  }
  try {
    programSettings(values, closed)
    return []
  } catch (thrown) {
    return [found('flags', thrown)]
  }
}

/** The files of --result and --log-file: what the start would say of them. */
export function checkOutputs(values: Values): Finding[] {
  const findings: Finding[] = []
  for (const [what, look] of [
    ['result', () => ResultFile.of(values, { hold: false })],
    ['log', () => logFileOf(values)],
  ] as const) {
    try {
      if (look() !== undefined)
        findings.push(ok(what, `--${what === 'log' ? 'log-file' : what} can be written.`))
    } catch (thrown) {
      findings.push(found(what, thrown))
    }
  }
  return findings
}
