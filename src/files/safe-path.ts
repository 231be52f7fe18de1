import { lstatSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { lstat, readlink } from 'node:fs/promises'
import { dirname, isAbsolute, join, parse, resolve, sep } from 'node:path'
import { codeOf, type ErrorCode, PlexusError } from '../errors/index.js'

/**
 * Whether anybody but root and this user decides what is found at a path, after OpenSSH's `safe_path`: every component
 * of the way to it is owned by root or the effective user, and writable by nobody else.
 *
 * It asks for rights, not for bits. A group whose only members are root and this user (the private group of Debian and
 * Fedora) is nobody else. In a sticky directory (`/tmp`) others cannot replace what is ours. Symbolic links are followed
 * as the kernel does: the directories that they stand in are part of the way, and their owners decide too.
 */

/** What makes a path unsafe. */
export interface Unsafe {
  /** The component that somebody else decides on. */
  readonly path: string
  /** Completes "<path> …". */
  readonly why: string
  /** Whether it is the very file or directory that was asked for, and not one above it. */
  readonly itself: boolean
  /** A command that takes the right away; nothing where it is not known whether anybody has it. */
  readonly remedy?: string
}

const GROUP_WRITE = 0o020
const OTHERS_WRITE = 0o002
/** In such a directory only its owner, and that of a file, may take the file away: /tmp is one. */
const STICKY = 0o1000

/** As many symbolic links as Linux follows in one path (path_resolution(7)). */
const MAX_LINKS = 40

/** @throws PlexusError `code` when others decide what is at `path`. @param what how a sentence calls it */
export function requireSafe(path: string, what: string, code: ErrorCode): void {
  const found = unsafePath(path)
  if (found) throw unsafeError(found, what, code)
}

/** The refusal of an unsafe path. @param what how a sentence calls what was asked for */
export function unsafeError(
  { path, why, itself, remedy }: Unsafe,
  what: string,
  code: ErrorCode,
): PlexusError {
  const sentence = itself ? `${what} ${why}` : `${what} is in ${path}, which ${why}`
  if (remedy === undefined) {
    const advice = 'Check the file system that it is on, or use another place.'
    return new PlexusError(code, `${sentence}.`, { advice })
  }
  return new PlexusError(code, `${sentence}: others could replace it.`, {
    advice: `Run ${remedy}, or use a safer place.`,
  })
}

type Question = { readonly ask: 'lstat' | 'readlink'; readonly path: string }

/**
 * Why others decide what is at `path`; nothing when they do not, or when there is nothing at it: that it is missing is
 * for whoever uses it to say.
 */
export function unsafePath(path: string): Unsafe | undefined {
  const walk = visit(path)
  let step = walk.next()
  while (!step.done) {
    const { ask, path: at } = step.value
    try {
      step = walk.next(ask === 'lstat' ? lstatSync(at) : readlinkSync(at))
    } catch (thrown) {
      return unknown(at, thrown)
    }
  }
  return step.value
}

/** What the use of a path will say as well: there is nothing, or this user may not go there. */
const TOLD_BY_USE: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG'])

/** A component that the file system did not tell about: a disk at fault, a server that has gone. It may be anybody's. */
function unknown(path: string, thrown: unknown): Unsafe | undefined {
  const code = codeOf(thrown)
  if (TOLD_BY_USE.has(code)) return undefined
  return { path, why: `cannot be looked at (${code ?? thrown})`, itself: false }
}

/** The same, without holding anything up while a network file system does not answer. */
export async function unsafePathSoon(path: string): Promise<Unsafe | undefined> {
  const walk = visit(path)
  let step = walk.next()
  while (!step.done) {
    const { ask, path: at } = step.value
    try {
      step = walk.next(ask === 'lstat' ? await lstat(at) : await readlink(at))
    } catch (thrown) {
      return unknown(at, thrown)
    }
  }
  return step.value
}

/** Asks about each component from the root on, and is told what is there. */
function* visit(path: string): Generator<Question, Unsafe | undefined, Stats | string> {
  const whole = resolve(path)
  const { root } = parse(whole)
  let at = root
  // the empty one is the root itself
  const rest = ['', ...componentsOf(whole.slice(root.length))]
  let links = 0
  for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
    at = join(at, next) // `..` of a link's target is meant literally: no link is left in `at`
    const stats = (yield { ask: 'lstat', path: at }) as Stats
    if (!stats.isSymbolicLink()) {
      const found = judge(at, stats, rest.length === 0)
      if (found) return found
      continue
    }
    const why = stranger(stats)
    if (why) return { path: at, why, itself: false, remedy: `chown -h root ${at}` }
    if (++links > MAX_LINKS) return undefined // nothing opens it
    const target = (yield { ask: 'readlink', path: at }) as string
    at = isAbsolute(target) ? root : dirname(at)
    rest.unshift(...componentsOf(target))
  }
  return undefined
}

function componentsOf(path: string): string[] {
  return path.split(sep).filter((part) => part !== '' && part !== '.')
}

function judge(path: string, stats: Stats, itself: boolean): Unsafe | undefined {
  // what is written to /dev/null or into a pipe stays with nobody
  if (!stats.isFile() && !stats.isDirectory()) return undefined
  const alien = stranger(stats)
  if (alien) return { path, why: alien, itself, remedy: `chown root ${path}` }
  // what stands in it is root's or ours, so nobody else can take it away
  if (!itself && (stats.mode & STICKY) !== 0) return undefined
  const mode = `mode ${octal(stats.mode)}`
  if ((stats.mode & OTHERS_WRITE) !== 0)
    return { path, why: `can be written by everybody (${mode})`, itself, remedy: `chmod o-w ${path}` }
  if ((stats.mode & GROUP_WRITE) !== 0 && !isPrivateGroup(stats.gid)) {
    const why = `can be written by its group (gid ${stats.gid}, ${mode})`
    return { path, why, itself, remedy: `chmod g-w ${path}` }
  }
  return undefined
}

/** Why the owner is neither root nor this user. Whoever owns `/` is root here, also in a container that maps no root. */
function stranger({ uid }: Stats): string | undefined {
  const own = process.geteuid?.()
  if (own === undefined || uid === 0 || uid === own || uid === ownerOfRoot()) return undefined
  return `belongs to another user (uid ${uid})`
}

let rootOwner: number | undefined
function ownerOfRoot(): number {
  rootOwner ??= lookAtRoot()
  return rootOwner
}

function lookAtRoot(): number {
  try {
    return statSync('/').uid
  } catch {
    return 0
  }
}

/** Whether nobody but root and this user is in the group, as far as /etc says; what is not known there is not. */
function isPrivateGroup(gid: number): boolean {
  if (process.geteuid === undefined || gid === 0) return true
  return membersOf(gid, read('/etc/group'), read('/etc/passwd'), process.geteuid())
}

/**
 * Whether a group has no members but root and `own`.
 * @param groups the text of /etc/group
 * @param users the text of /etc/passwd
 */
export function membersOf(gid: number, groups: string, users: string, own: number): boolean {
  const lines = (text: string) => text.split('\n').map((line) => line.split(':'))
  const group = lines(groups).find((fields) => fields.length >= 4 && fields[2] === String(gid))
  if (!group) return false
  const named = new Set((group[3] ?? '').split(',').filter(Boolean))
  const known = new Set<string>()
  for (const [name = '', , uid, primary] of lines(users)) {
    const harmless = uid === '0' || uid === String(own)
    if (harmless) known.add(name)
    else if (primary === String(gid)) return false
  }
  return [...named].every((name) => known.has(name))
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** Permission bits as chmod takes them. */
export function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}
