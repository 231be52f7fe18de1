import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, linkSync, openSync, renameSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { basename, dirname } from 'node:path'
import { codeWord } from '../errors/index.js'
import { findProgram } from '../files/index.js'
import { knock } from '../net/index.js'

/**
 * Holds that the system ends with their process, whatever ends it. Who has one needs no name: it counts across the process
 * ids of containers, and of machines where the file system carries it.
 */
export type Hold =
  | { readonly state: 'held'; release(): Promise<void> }
  /** Somebody else has it. */
  | { readonly state: 'taken' }
  /** This machine or this file system has no such holds. */
  | { readonly state: 'impossible'; readonly why: string }

/** How long a lock may take that waits for nobody, in ms: a server of files may have gone. */
const PATIENCE = 5000

/** How often a socket that nobody listens at is taken away: others may do the same. */
const TRIES = 5

/** The longest path of a unix socket that every system takes, in bytes. */
const LONGEST_PATH = 100

/**
 * Locks an open file exclusively, flock(2), for as long as this process has it open: closing it releases it. Node has no such call: a child makes it, and
 * a lock belongs to the open file, which both share.
 *
 * Linux carries these locks over NFS to other machines, for files that are open for writing.
 */
export async function holdFile(fd: number): Promise<Hold> {
  let program: string
  try {
    program = findProgram('flock')
  } catch {
    return { state: 'impossible', why: 'there is no program flock' }
  }
  return await new Promise((resolve) => {
    const child = spawn(program, ['-n', '3'], { stdio: ['ignore', 'ignore', 'pipe', fd], timeout: PATIENCE })
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
    })
    child.once('error', ({ message }) => resolve({ state: 'impossible', why: message }))
    child.once('close', (code, signal) => {
      if (code === 0) resolve({ state: 'held', release: async () => {} })
      // 1 is what another's lock gives; busybox says the same of every failure, but then with words
      else if (code === 1 && said === '') resolve({ state: 'taken' })
      else resolve({ state: 'impossible', why: said.trim() || `flock ended with ${code ?? signal}` })
    })
  })
}

/**
 * Listens at a unix socket: there is one listener to a path, and one whose process is gone refuses. Other machines that share
 * the directory see the socket and get no answer: they would take it for one that was left behind.
 */
export async function holdSocket(path: string): Promise<Hold> {
  const { at, close } = shortened(path)
  const given = async (hold: Hold) => {
    close()
    return hold
  }
  for (let tries = 0; tries < TRIES; tries++) {
    const server = await listening(at)
    if (typeof server !== 'string') {
      const closed = new Promise<void>((resolve) => server.once('close', resolve))
      const release = async () => {
        server.close()
        await closed
        close()
      }
      return { state: 'held', release }
    }
    if (server !== 'EADDRINUSE') return await given({ state: 'impossible', why: `a socket gives ${server}` })
    const answer = await knock(at)
    if (answer === 'open' || answer === 'EAGAIN') return await given({ state: 'taken' })
    if (answer === 'ECONNREFUSED') await takeAway(at)
    else if (answer !== 'ENOENT') return await given({ state: 'impossible', why: `a socket gives ${answer}` })
  }
  return await given({ state: 'impossible', why: 'a socket that was left behind cannot be removed' })
}

/** Linux: a directory that is open has a short name as well. */
function shortened(path: string): { readonly at: string; close(): void } {
  if (Buffer.byteLength(path) <= LONGEST_PATH) return { at: path, close: () => {} }
  const fd = openSync(dirname(path), 'r')
  return { at: `/proc/self/fd/${fd}/${basename(path)}`, close: () => closeSync(fd) }
}

/** The server, or the code of what kept it from listening. */
function listening(path: string): Promise<Server | string> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error) => resolve(codeWord(error)))
    server.listen(path, () => {
      server.unref()
      resolve(server)
    })
  })
}

/** Removes a socket that nobody listens at, and puts it back if somebody has taken the place meanwhile. */
async function takeAway(path: string): Promise<void> {
  const aside = `${path}.${randomBytes(4).toString('hex')}`
  try {
    renameSync(path, aside)
  } catch {
    return // somebody else was faster
  }
  if ((await knock(aside)) === 'open') {
    try {
      linkSync(aside, path)
    } catch {
      renameSync(aside, path)
      return
    }
  }
  rmSync(aside, { force: true })
}
