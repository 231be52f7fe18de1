import { realpathSync } from 'node:fs'
import { PlexusError } from '../../errors/index.js'
import { type Command, type CommandSpec, logError, parseCommand, requireDirectory } from '../../exec/index.js'
import { tryOutput } from '../../files/index.js'
import type { Logger } from '../../net/index.js'
import type { Values } from './values.js'

/** What makes no sense without `--exec-command`. */
const NEED_COMMAND = ['exec-args', 'exec-env', 'exec-pwd', 'exec-log', 'exec-detach']

/**
 * The name that means the wormhole of this program, and not one in PATH: Debian has a file transfer of that name, and the C++
 * one, whose wire it does not share, is for peers of plexus 3 alone.
 */
const WORMHOLE = 'wormhole'

/** How the wormhole of the very program that runs is started. @throws PlexusError BAD_FLAG if it could not do anything */
function ownWormhole(values: Values): Pick<CommandSpec, 'command' | 'before' | 'plexus3'> {
  if (!/--purpose\b/.test(values.text('exec-args', { empty: true }) ?? '')) {
    throw new PlexusError(
      'BAD_FLAG',
      '--exec-command=wormhole needs --exec-args with --purpose and --service.',
      {
        advice:
          'For example: --exec-args="--purpose=export --service=127.0.0.1:22". --export does without a command.',
      },
    )
  }
  const program = realpathSync(process.argv[1] ?? '')
  return { command: process.execPath, before: [program, 'wormhole'], plexus3: WORMHOLE }
}

/**
 * The command that the flags describe, if any: what can be found wrong with it now, is.
 * @throws PlexusError BAD_FLAG, BAD_EXEC_ARGS, COMMAND_MISSING, COMMAND_WRITABLE, EXEC_PWD, EXEC_LOG
 */
export function commandOf(values: Values, log: Logger): Command | undefined {
  const file = values.path('exec-command')
  if (file === undefined) {
    const [label] = NEED_COMMAND.flatMap((name) => values.label(name) ?? [])
    if (label !== undefined) throw new PlexusError('BAD_FLAG', `${label} is given without --exec-command.`)
    return undefined
  }
  const args = values.text('exec-args', { empty: true })
  const pwd = values.path('exec-pwd')
  const output = values.path('exec-log')
  const command = parseCommand(
    {
      ...(file === WORMHOLE ? ownWormhole(values) : { command: file }),
      environment: values.many('exec-env'),
      ...(args === undefined ? {} : { args }),
      ...(pwd === undefined ? {} : { pwd }),
      ...(output === undefined ? {} : { log: output }),
      detach: values.switch('exec-detach'),
    },
    { env: process.env, log },
  )
  if (pwd !== undefined && isPlain(command.pwd)) requireDirectory(pwd)
  if (output !== undefined && isPlain(command.log)) {
    try {
      tryOutput(output)
    } catch (cause) {
      throw logError(output, cause)
    }
  }
  return command
}

/** Whether a template has no wildcards: what it names can be looked at before there are values. */
function isPlain(template: Command['pwd']): boolean {
  return template?.every((piece) => 'literal' in piece) ?? false
}
