import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PlexusError } from '../errors/index.js'
import type { Logger } from '../net/index.js'

/** How often a stale lock is taken away before the directory is said to be at fault: others may do the same. */
const TRIES = 5

/** What the system says when there is no room. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

/**
 * Keeps a directory for one process, until the returned function is called or the process is gone.
 *
 * The lock is a file that names its holder: process id, when that was started, and the boot. The number alone may belong
 * to somebody else after `kill -9` or a power cut; all three together do not.
 * @param what whose directory it is, for the one who comes second
 *
 * A full disk keeps nobody from being reached: then there is a warning, and no lock.
 * @throws PlexusError ALREADY_RUNNING, STATE_DIRECTORY
 */
export function lockDirectory(directory: string, what: string, log: Logger): () => void {
  const path = join(directory, 'lock')
  const draft = `${path}.${process.pid}`
  const own = `${process.pid} ${startOf(process.pid) ?? ''}\n`
  try {
    rmSync(draft, { force: true })
    writeFileSync(draft, own, { mode: 0o600, flag: 'wx' })
    for (let tries = 0; tries < TRIES; tries++) {
      if (linked(draft, path)) return () => release(path, own)
      const held = read(path)
      if (held === undefined) continue // let go just now
      const pid = Number(held.split(' ')[0])
      if (held !== own && isHolder(pid, held)) {
        throw new PlexusError('ALREADY_RUNNING', `${what} is already running (process ${pid}).`)
      }
      takeAway(path, held)
    }
  } catch (cause) {
    if (cause instanceof PlexusError) throw cause
    if (FULL.has(String((cause as { code?: unknown }).code))) {
      log.warn({ directory }, 'the disk of the state directory is full: continuing without a lock')
      return () => {}
    }
    throw new PlexusError('STATE_DIRECTORY', `The state directory '${directory}' cannot be written.`, {
      cause,
    })
  } finally {
    rmSync(draft, { force: true })
  }
  throw new PlexusError('STATE_DIRECTORY', `The lock '${path}' cannot be taken.`)
}

/** A link is made whole or not at all, and never over another file. */
function linked(draft: string, path: string): boolean {
  try {
    linkSync(draft, path)
    return true
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'EEXIST') return false
    throw thrown
  }
}

/** Removes a stale lock, and puts it back if another process has taken it over meanwhile. */
function takeAway(path: string, stale: string): void {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch {
    return // somebody else was faster
  }
  if (read(aside) !== stale) linked(aside, path)
  rmSync(aside, { force: true })
}

function release(path: string, own: string): void {
  if (read(path) === own) rmSync(path, { force: true })
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function isHolder(pid: number, held: string): boolean {
  if (!Number.isSafeInteger(pid) || pid < 1) return false
  const start = startOf(pid)
  if (start !== undefined) return held === `${pid} ${start}\n`
  // a system without /proc: the number is all there is
  return read('/proc/self/stat') === undefined && exists(pid)
}

/** When a process was started, in ticks after a boot, with the id of that (proc(5)); undefined if there is none. */
function startOf(pid: number): string | undefined {
  const stat = read(`/proc/${pid}/stat`)
  // the name, in parentheses, may hold anything; field 22 is the 20th behind it
  const ticks = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  return ticks === undefined
    ? undefined
    : `${ticks} ${(read('/proc/sys/kernel/random/boot_id') ?? '').trim()}`
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as { code?: unknown }).code === 'EPERM'
  }
}
