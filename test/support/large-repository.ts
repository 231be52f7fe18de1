import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { PROGRAM } from './cli.js'

const HOST = 'host@px.test/server'

/** Makes a repository with one own identity, `host@px.test/server`, and so many peers, `p<n>@px.test/pin<n>`. */
export async function largeRepository(path: string, peers: number): Promise<void> {
  const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
  const { paths } = await createIdentity(path, parseIdentity(HOST), options)
  for (let at = 0; at < peers; at += 100) {
    const batch = Array.from({ length: Math.min(100, peers - at) }, async (_, index) => {
      const directory = join(path, `p${at + index}@px.test`, `pin${at + index}`)
      await mkdir(directory, { recursive: true })
      await copyFile(paths.certificate, join(directory, 'cert.crt'))
    })
    await Promise.all(batch)
  }
}

export interface ReadyFigures {
  /** From the start of the process to its word that it is ready, in ms. */
  readonly took: number
  /** What it had read from files and sockets by then, in bytes, directories not counted. */
  readonly read: number
  /** What it had resident then, in KiB. */
  readonly resident: number
}

/** Starts an accepter of the program on a repository, and ends it when it says that it is ready. */
export async function untilReady(repository: string, scratch: string): Promise<ReadyFigures> {
  const started = performance.now()
  const flags = [
    '--accept',
    `--app-repo=${repository}`,
    `--host-info=${HOST}`,
    `--rendezvous=dir:${join(scratch, 'meeting')}`,
    `--state-dir=${join(scratch, 'state')}`,
    '--stun-server=127.0.0.1:9',
    '--log-format=json',
  ]
  const child = spawn(process.execPath, [PROGRAM, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'close')
  const lines: string[] = []
  try {
    for await (const line of createInterface({ input: child.stderr })) {
      lines.push(line)
      if (!line.includes('ready for invites')) continue
      const took = performance.now() - started
      const io = await readFile(`/proc/${child.pid}/io`, 'utf8')
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
      const number = (text: string, name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1])
      return { took, read: number(io, 'rchar'), resident: number(status, 'VmRSS') }
    }
    throw new Error(`the accepter ended:\n${lines.join('\n')}`)
  } finally {
    child.kill('SIGTERM')
    child.stderr.resume()
    await ended
  }
}
