import { realpathSync, type Stats, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { type ErrorCode, PlexusError } from '../errors/index.js'

const GROUP_WRITE = 0o020
const OTHERS_WRITE = 0o002
/** In such a directory only its owner, and that of a file, may take the file away: /tmp is one. */
const STICKY = 0o1000

/**
 * Refuses a file or directory that others can write, and so decide what root does: itself and the directory that it
 * stands in, neither by its group (root's own does not count) nor by everybody; and any directory above that
 * everybody can write, unless it is sticky. Only for root; a path that does not exist is somebody else's business.
 * @param what how to name it in the refusal
 * @throws PlexusError `code`
 */
export function refuseWritable(path: string, what: string, code: ErrorCode): void {
  if (process.getuid?.() !== 0) return
  const file = resolved(path)
  if (file === undefined) return
  const kind = statSync(file, { throwIfNoEntry: false })
  // what is written to /dev/null or into a pipe stays with nobody
  if (!kind?.isFile() && !kind?.isDirectory()) return
  const chain = [file]
  for (let at = file; at !== dirname(at); at = dirname(at)) chain.push(dirname(at))
  for (const [index, each] of chain.entries()) {
    const stats = statSync(each, { throwIfNoEntry: false })
    const who = stats && writers(stats, index)
    if (who === undefined) continue
    const where = index === 0 ? what : `${what} stands in ${each}, which`
    throw new PlexusError(
      code,
      `${where} can be written by ${who} (mode ${octal(stats)}), and plexus runs as root.`,
    )
  }
}

/** @param index 0 for the file itself, 1 for its directory, more for those above */
function writers(stats: Stats | undefined, index: number): string | undefined {
  if (stats === undefined) return undefined
  const { mode, gid } = stats
  const sticky = index > 0 && (mode & STICKY) !== 0
  if ((mode & OTHERS_WRITE) !== 0 && !sticky) return 'everybody'
  if ((mode & GROUP_WRITE) !== 0 && gid !== 0 && !sticky && index < 2) return `its group (gid ${gid})`
  return undefined
}

/**
 * Refuses a directory for what nobody else may touch: one of another user, or that others can write.
 * @param options.shared whether it may hold what belongs to others too, as /tmp does
 * @throws PlexusError STATE_DIRECTORY
 */
export function refuseShared(directory: string, options: { shared: boolean }): void {
  const stats = statSync(directory)
  const wrong = (why: string, advice: string) =>
    new PlexusError('STATE_DIRECTORY', `The state directory '${directory}' ${why}.`, { advice })
  const own = process.getuid?.()
  if (own === undefined) return // a system without such modes
  if (options.shared && (stats.mode & STICKY) !== 0) return
  if (stats.uid !== own && stats.uid !== 0) {
    throw wrong(`belongs to another user (uid ${stats.uid})`, 'Give --state-dir a directory of your own.')
  }
  if ((stats.mode & (GROUP_WRITE | OTHERS_WRITE)) !== 0) {
    throw wrong(`can be written by others (mode ${octal(stats)})`, `Run chmod go-w '${directory}'.`)
  }
}

function resolved(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}

function octal(stats: Stats | undefined): string {
  return ((stats?.mode ?? 0) & 0o7777).toString(8).padStart(4, '0')
}
