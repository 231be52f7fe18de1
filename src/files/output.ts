import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { codeOf, codeWord } from '../errors/index.js'
import { unsafePath } from './safe-path.js'

/** Something that output is appended to. */
export interface Output {
  readonly fd: number
  /** Closes what was opened for it: a descriptor of this process stays. */
  close(): void
}

/** What is at a path that is to be written. */
export type Place =
  /** A descriptor that this process has: `/dev/stdout`, `/dev/fd/3`. The system may refuse to open it by name. */
  | { readonly is: 'descriptor'; readonly fd: number }
  /** A regular file, or nothing yet; links on the way are resolved. */
  | { readonly is: 'file'; readonly path: string; readonly there: boolean }
  /** A device or a named pipe: written as it is, never replaced. */
  | { readonly is: 'device' | 'pipe'; readonly path: string }

const NAMES: Readonly<Record<string, number>> = { '/dev/stdin': 0, '/dev/stdout': 1, '/dev/stderr': 2 }

/** Why nothing can be written at a path; completes "<path> …". */
export class Unwritable extends Error {
  override readonly name = 'Unwritable'
}

/**
 * What is at a path, asked before anything is written there.
 * @throws Unwritable when it is nothing that can be written to
 */
export function placeAt(name: string): Place {
  const fd = descriptorOf(name)
  if (fd !== undefined) {
    if (!isOpen(fd)) throw new Unwritable('is not an open file descriptor')
    return { is: 'descriptor', fd }
  }
  const path = resolve(name)
  const entry = lstatSync(path, { throwIfNoEntry: false })
  if (!entry) return { is: 'file', path: fresh(path), there: false }
  if (!entry.isSymbolicLink()) return placeOf(path, entry)
  const unsafe = unsafePath(path)
  if (unsafe && !unsafe.itself)
    throw new Unwritable(`is a link that others can change: ${unsafe.path} ${unsafe.why}`)
  const target = statSync(path, { throwIfNoEntry: false })
  if (!target) throw new Unwritable('is a broken link')
  return placeOf(realpathSync(path), target)
}

function placeOf(path: string, stats: Stats): Place {
  if (stats.isFile()) return { is: 'file', path, there: true }
  if (stats.isFIFO()) return { is: 'pipe', path }
  if (stats.isCharacterDevice()) return { is: 'device', path }
  throw new Unwritable(stats.isDirectory() ? 'is a directory' : 'is neither a file, a pipe nor a terminal')
}

/** The path of a file that is to be made, in a directory that is there. */
function fresh(path: string): string {
  if (statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) return path
  throw new Unwritable(`is in ${dirname(path)}, which is not a directory`)
}

function descriptorOf(path: string): number | undefined {
  const named = NAMES[path] ?? /^\/(?:dev|proc\/self)\/fd\/(\d{1,4})$/.exec(path)?.[1]
  return named === undefined ? undefined : Number(named)
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd)
    return true
  } catch {
    return false
  }
}

const { O_APPEND, O_CREAT, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants

/**
 * Opens what output is appended to; a new file is its owner's alone (0600).
 * @throws Unwritable, what the file system throws
 */
export function openOutput(name: string): Output {
  const place = placeAt(name)
  if (place.is === 'descriptor') return { fd: place.fd, close: () => {} }
  // of a pipe that nobody reads the opening would hold everything up; and its reader must not see an end between the two
  const held = place.is === 'pipe' ? openRead(place.path) : undefined
  // the links were followed: one that is there by now is somebody else's
  try {
    const fd = openSync(place.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY, 0o600)
    return { fd, close: () => closeSync(fd) }
  } finally {
    if (held !== undefined) closeSync(held)
  }
}

/**
 * Finds out what `openOutput` would throw, and makes nothing. Whether somebody reads a pipe it leaves open: a reader would take
 * the question for the end.
 * @throws Unwritable, what the file system throws
 */
export function tryOutput(name: string): void {
  const place = placeAt(name)
  if (place.is === 'descriptor') return
  const missing = place.is === 'file' && !place.there
  accessSync(missing ? dirname(place.path) : place.path, constants.W_OK)
}

/** Opens a pipe that somebody reads. @throws Unwritable if nobody does */
function openRead(path: string): number {
  try {
    return openSync(path, O_WRONLY | O_NONBLOCK)
  } catch (thrown) {
    if (codeOf(thrown) === 'ENXIO') throw new Unwritable('is a pipe that nobody reads')
    throw thrown
  }
}

/** For a sentence: why something could not be written. */
export function whyUnwritable(path: string, thrown: unknown): string {
  if (thrown instanceof Unwritable) return `${path} ${thrown.message}`
  return `${path} cannot be written (${codeWord(thrown)})`
}
