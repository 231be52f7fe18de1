import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { codeOf, PlexusError } from '../errors/index.js'
import type { Logger } from '../net/index.js'
import { type Hold, holdFile, holdSocket } from './hold.js'

/** How often the file is opened anew because whoever had it has just removed it. */
const TRIES = 5

/** What the system says when there is no room. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

/**
 * Keeps a directory for one process, until the returned function is called or the process is gone.
 *
 * What counts is a hold that the system keeps (`hold.ts`): it ends with its process, also by `kill -9` or a power cut, and holds
 * between containers that share the directory and cannot see each other's processes. The file also names its holder, for the one
 * who comes second: process id, when that was started, and the boot. Where the system has no hold these three are all there is.
 * @param what whose directory it is, for the one who comes second
 *
 * A full disk keeps nobody from being reached: then there is a warning, and a lock of the directory itself.
 * @throws PlexusError ALREADY_RUNNING, STATE_DIRECTORY
 */
export async function lockDirectory(
  directory: string,
  what: string,
  log: Logger,
): Promise<() => Promise<void>> {
  const path = join(directory, 'lock')
  for (let tries = 0; tries < TRIES; tries++) {
    const { fd, file } = openLock(directory, path, log)
    const hold = await held(fd, path)
    const text = file ? (read(path) ?? '') : ''
    // who holds nothing is one of an earlier version, or of a system without holds
    if (hold.state === 'taken' || isHolder(text)) {
      await letGo(hold, fd)
      throw alreadyRunning(what, directory, text)
    }
    const there = file ? whatIsAt(path, fd) : 'ours'
    if (there !== 'ours') {
      await letGo(hold, fd)
      if (there === 'another') continue
      throw new PlexusError('STATE_DIRECTORY', `The lock '${path}' cannot be looked at (${there.code}).`)
    }
    if (hold.state === 'impossible') {
      const why = `another container or machine could use it at the same time (${hold.why})`
      log.warn({ directory }, `the state directory cannot be locked: ${why}`)
    }
    if (file) write(fd)
    return async () => {
      // while it is held: who has opened it meanwhile finds that it is gone
      if (file && whatIsAt(path, fd) === 'ours') remove(path)
      await letGo(hold, fd)
    }
  }
  throw new PlexusError('STATE_DIRECTORY', `The lock '${path}' cannot be taken.`)
}

/** The file of the lock, open for writing; on a full disk that has none the directory. */
function openLock(directory: string, path: string, log: Logger): { fd: number; file: boolean } {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  try {
    return { fd: openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600), file: true }
  } catch (cause) {
    const code = String(codeOf(cause))
    if (!FULL.has(code)) {
      throw new PlexusError('STATE_DIRECTORY', `The lock '${path}' cannot be opened (${code}).`, { cause })
    }
    log.warn({ directory }, `the disk of the state directory is full (${code})`)
    return { fd: openSync(directory, 'r'), file: false }
  }
}

/** A hold of the open file, which stays the caller's to close unless it is held; where there is none, a socket beside it. */
async function held(fd: number, path: string): Promise<Hold> {
  const locked = await holdFile(fd)
  if (locked.state !== 'impossible') return locked
  const socket = await holdSocket(`${path}.socket`)
  return socket.state === 'impossible' ? { ...socket, why: `${locked.why}; ${socket.why}` } : socket
}

async function letGo(hold: Hold, fd: number): Promise<void> {
  if (hold.state === 'held') await hold.release()
  closeSync(fd)
}

function alreadyRunning(what: string, directory: string, text: string): PlexusError {
  const pid = text.split(' ')[0]
  const elsewhere = `in another container or on another machine that uses ${directory}`
  const who = isHolder(text) ? ` (process ${pid})` : text === '' ? '' : `, ${elsewhere}`
  return new PlexusError('ALREADY_RUNNING', `${what} is already running${who}.`)
}

/** Whether the open file is what is at the path, or why the file system does not tell. */
function whatIsAt(path: string, fd: number): 'ours' | 'another' | { readonly code: unknown } {
  try {
    const [open, there] = [fstatSync(fd), statSync(path)]
    return open.ino === there.ino && open.dev === there.dev ? 'ours' : 'another'
  } catch (thrown) {
    const code = codeOf(thrown)
    return code === 'ENOENT' ? 'another' : { code }
  }
}

function remove(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // it holds nobody up: what counts ends with this process
  }
}

/** Names the holder. Without it the one who comes second is told less. */
function write(fd: number): void {
  try {
    ftruncateSync(fd)
    writeSync(fd, `${process.pid} ${startOf(process.pid) ?? ''}\n`, 0)
  } catch {
    // a full disk, for one
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Whether what the file names is a process that runs, and can be seen. */
function isHolder(text: string): boolean {
  const pid = Number(text.split(' ')[0])
  if (!Number.isSafeInteger(pid) || pid < 1) return false
  const start = startOf(pid)
  if (start !== undefined) return text === `${pid} ${start}\n`
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
    return codeOf(thrown) === 'EPERM'
  }
}
