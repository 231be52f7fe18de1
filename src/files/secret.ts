import { octal } from './safe-path.js'

/** Of an open file: whose it is, and the permission bits. */
export interface Ownership {
  readonly uid: number
  readonly gid: number
  readonly mode: number
}

/** Why a secret may be known to others. */
export interface Exposed {
  /** Completes "<path> …". */
  readonly why: string
  /** A command that mends it, for this path. */
  readonly remedy: string
}

/** What a credential of systemd's LoadCredential and a secret of Kubernetes have at the most. */
const HANDED_OVER = 0o440

/**
 * Why a file with a secret may be known to others, as ssh judges its keys; nothing when it is not.
 *
 * Your own file is open to nobody else. What the system hands over counts as well: a file of root's that its
 * group may read, when the right to read it came to this user by that group or by an ACL, as with systemd's
 * LoadCredential and the secrets of Kubernetes.
 * @param file what was opened, not what the path may name a moment later
 */
export function exposure(path: string, { uid, gid, mode }: Ownership): Exposed | undefined {
  const own = process.geteuid?.()
  if (own === undefined) return undefined // a system without such modes
  if (uid !== own && uid !== 0) {
    const remedy = `Run chown ${own} on it, and chmod 600.`
    return { why: `belongs to another user (uid ${uid})`, remedy }
  }
  if ((mode & 0o077) === 0) return undefined
  const why = `is open to other users (mode ${octal(mode)})`
  // that this user could open it, who is not root, is the right; bits alone do not tell whether by group or ACL
  const given = own !== 0 && uid === 0 && (mode & 0o037) === 0
  const mounted = own === 0 && (mode & 0o7777 & ~HANDED_OVER) === 0 && groups().includes(gid)
  return given || mounted ? undefined : { why, remedy: `Run chmod 600 ${path}` }
}

function groups(): readonly number[] {
  return [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])]
}
