import { homedir } from 'node:os'
import { join } from 'node:path'
import { PlexusError } from '../../errors/index.js'

/**
 * The home directory, which a user without HOME and without an entry in the password file does not have.
 * @throws PlexusError BAD_FLAG
 */
export function homeDirectory(): string {
  try {
    return homedir()
  } catch (cause) {
    throw new PlexusError('BAD_FLAG', `This user (uid ${process.getuid?.()}) has no home directory.`, {
      advice: 'Set HOME, or give --app-repo and --state-dir.',
      cause,
    })
  }
}

/** The repository when none is named: `/etc/plexus` for root, else in the XDG configuration folder. */
export function defaultRepository(): string {
  if (process.getuid?.() === 0) return '/etc/plexus'
  return join(process.env.XDG_CONFIG_HOME ?? join(homeDirectory(), '.config'), 'plexus')
}

/** Where state is kept when no directory is named: systemd's, else the XDG state folder. */
export function defaultStateDirectory(): string {
  // systemd gives several directories with colons between; the first is ours
  const given = process.env.STATE_DIRECTORY?.split(':')[0]
  return given || join(process.env.XDG_STATE_HOME ?? join(homeDirectory(), '.local', 'state'), 'plexus')
}

/** Where the public HyperDHT network is entered, as `hyperdht` has it: told at the start, since nobody asked for them. */
export const PUBLIC_BOOTSTRAP: readonly string[] = [
  'node1.hyperdht.org:49737',
  'node2.hyperdht.org:49737',
  'node3.hyperdht.org:49737',
]
