import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ProgramSettings, RoleSettings, UseSettings } from '../../assembly/index.js'
import { PlexusError } from '../../errors/index.js'
import { REPEAT_POLICIES } from '../../exec/index.js'
import type { Logger } from '../../net/index.js'
import type { LogLevel } from '../output/log.js'
import { commandOf } from './command.js'
import { defaultRepository } from './defaults.js'
import { type Forwards, forwardsOf } from './forwarding.js'
import { logOf } from './log.js'
import { namedBy, pairingSettings } from './settings.js'
import type { Values } from './values.js'

/**
 * What the flags of pairing say in all, and the log that they ask for: what can be wrong with them is found here.
 * @param openLog opens the log; who only wants to know opens none
 * @throws PlexusError BAD_FLAG, and what is wrong with the command
 */
export function programSettings(
  values: Values,
  openLog: (values: Values, level: LogLevel) => Logger = logOf,
): {
  readonly settings: ProgramSettings
  readonly log: Logger
} {
  const mode = modeOf(values)
  const pairing = pairingSettings(values)
  const forwards = forwardsOf(values, mode)
  // a second login does not end the first; a command that runs twice may be in its own way
  const onRepeat = values.choice('on-repeat', REPEAT_POLICIES, forwards ? 'parallel' : 'replace')
  if (mode.once && !mode.accept && !forwards) {
    throw new PlexusError('BAD_FLAG', '--once is for an accepter: an inviter connects once anyway.')
  }
  const log = openLog(values, forwards?.stdio === undefined ? 'info' : 'warning')
  const use = forwards ? usedFor(forwards) : commandUse(values, mode, log)
  const again = mode.keep || (use.is === 'services' && !mode.once)
  return { settings: { ...pairing, role: roleOf(values, mode, { again, onRepeat }), use }, log }
}

interface Mode {
  readonly accept: boolean
  readonly keep: boolean
  readonly once: boolean
}

function modeOf(values: Values): Mode {
  const [accept, keep, once] = [values.switch('accept'), values.switch('keep'), values.switch('once')]
  if (accept && keep)
    throw new PlexusError('BAD_FLAG', '--keep is for an inviter: an accepter keeps running by itself.')
  if (keep && once) throw new PlexusError('BAD_FLAG', '--keep and --once cannot be used together.')
  return { accept, keep, once }
}

function roleOf(
  values: Values,
  { accept, once }: Mode,
  { again, onRepeat }: { readonly again: boolean; readonly onRepeat: (typeof REPEAT_POLICIES)[number] },
): RoleSettings {
  const peer = namedBy(values, 'peer-info')
  if (accept) return { is: 'accepter', ...(peer ? { peer } : {}), onRepeat, once }
  if (peer) return { is: 'inviter', peer, again }
  throw new PlexusError('BAD_FLAG', 'Neither --peer-info nor --accept is given.', {
    advice: firstStep(values.path('app-repo') ?? defaultRepository()),
  })
}

/** What to do first, for somebody who has just begun, or forgot a flag. */
function firstStep(repository: string): string {
  if (hasIdentity(repository)) {
    return 'Name the peer to pair with in --peer-info, or wait for peers with --accept. plexus --help shows examples.'
  }
  return `Begin with an identity: plexus id new you@example.com/laptop (in ${repository}, or where --app-repo says). Then exchange certificates: plexus id export here, plexus id import there, and the other way round. plexus demo shows a pairing on this machine alone.`
}

function hasIdentity(repository: string): boolean {
  const inside = (path: string) => {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  }
  return inside(repository).some((owner) =>
    inside(join(repository, owner)).some((pin) => existsSync(join(repository, owner, pin, 'private.key'))),
  )
}

function usedFor({ exports, imports, stdio, wait }: Forwards): UseSettings {
  return stdio === undefined
    ? { is: 'services', exports, imports, wait }
    : { is: 'connection', service: stdio }
}

function commandUse(values: Values, { keep }: Mode, log: Logger): UseSettings {
  const command = commandOf(values, log)
  if (keep && (command === undefined || command.detach)) {
    throw new PlexusError('BAD_FLAG', '--keep needs --exec-command, and that without --exec-detach.')
  }
  return command ? { is: 'command', command } : { is: 'print' }
}
