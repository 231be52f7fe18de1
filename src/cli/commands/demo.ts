import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openDhtNode } from '../../../rendezvous/dht/index.js'
import { PlexusError } from '../../errors/index.js'
import { createIdentity, formatIdentity, parseIdentity } from '../../identity/index.js'
import { formatEndpoint, silent, UdpPort } from '../../net/index.js'
import { openTemporaryDirectory } from '../../place/index.js'
import { StunServer } from '../../stun/index.js'
import { systemClock, systemRandom } from '../clock.js'
import type { Values } from '../flags/values.js'

const SERVER = parseIdentity('bob@example.com/server')
const LAPTOP = parseIdentity('alice@example.com/laptop')

/** How long the whole demonstration may take, in ms. */
const LIMIT = 60_000

/**
 * `plexus demo`: the main job on this machine alone, with real processes: a DHT network and a STUN server on
 * loopback, two fresh identities, an accepter, an inviter, and a command on each side that talks through the hole.
 */
export async function demo(values: Values): Promise<number> {
  const verbose = values.switch('verbose')
  const { path: directory, remove } = await openTemporaryDirectory('plexus-demo-')
  const closing: (() => Promise<unknown>)[] = [remove]
  try {
    return await show(directory, verbose, closing)
  } finally {
    for (const close of closing.reverse()) await close().catch(() => {})
  }
}

async function show(
  directory: string,
  verbose: boolean,
  closing: (() => Promise<unknown>)[],
): Promise<number> {
  const story = new Story(verbose)
  const repository = join(directory, 'repo')
  const made = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
  for (const name of [SERVER, LAPTOP]) await createIdentity(repository, name, made)
  story.tell('demo', `created two identities, ${formatIdentity(SERVER)} and ${formatIdentity(LAPTOP)}`)
  const listen = { address: '127.0.0.1', port: await freePort() }
  const dht = await openDhtNode({ listen, bootstrap: [], log: silent })
  closing.push(() => dht.close())
  story.tell('demo', `started a DHT network at ${formatEndpoint(listen)}`)
  const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  closing.push(() => stun.close())
  const stunAt = formatEndpoint(stun.endpoints[0] ?? listen)
  story.tell('demo', `started a STUN server at ${stunAt}`)
  const flags = (name: typeof SERVER, pin: string) => [
    `--app-repo=${repository}`,
    '--app-id=demo',
    `--host-info=${formatIdentity(name)}`,
    `--stun-server=${stunAt}`,
    `--dht-bootstrap=${formatEndpoint(listen)}`,
    `--state-dir=${join(directory, `state-${pin}`)}`,
    `--exec-command=${process.execPath}`,
    `--exec-args=${exchangePath()} %innerip% %innerport% %peerip% %peerport% ${pin}`,
    `--exec-log=${join(directory, `${pin}.log`)}`,
    '--log-format=json',
    `--log-level=${verbose ? 'debug' : 'info'}`,
  ]
  const accepter = new Side(story, 'server', ['--accept', ...flags(SERVER, 'server')])
  closing.push(() => accepter.end())
  await accepter.said(/^ready/)
  const inviter = new Side(story, 'laptop', [
    ...flags(LAPTOP, 'laptop'),
    `--peer-info=${formatIdentity(SERVER)}`,
  ])
  closing.push(() => inviter.end())
  const code = await inviter.ended
  await Promise.race([accepter.said(/^the command exited/), accepter.ended])
  await accepter.end()
  for (const pin of ['server', 'laptop']) {
    const text = await readFile(join(directory, `${pin}.log`), 'utf8').catch(() => '')
    for (const line of text.split('\n').filter(Boolean)) story.tell(pin, `its command says: ${line}`)
  }
  if (code !== 0) throw new PlexusError('PUNCH_TIMEOUT', 'The demonstration failed on this machine.')
  story.tell('demo', 'done: the hole is open, and data went through it in both directions')
  return 0
}

function exchangePath(): string {
  return `"${fileURLToPath(new URL('./demo-exchange.js', import.meta.url))}"`
}

/** A UDP port that nobody holds at the moment. */
async function freePort(): Promise<number> {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const number = port.local(4)?.port ?? 0
  await port.close()
  return number
}

/** One line an event, with the time since the story began. */
class Story {
  readonly #began = systemClock.date()
  readonly #verbose: boolean

  constructor(verbose: boolean) {
    this.#verbose = verbose
  }

  tell(who: string, what: string, when = systemClock.date()): void {
    const seconds = ((when - this.#began) / 1000).toFixed(3).padStart(7)
    process.stdout.write(`${seconds} s  ${who.padEnd(6)}  ${what}\n`)
  }

  /** A line of a side's own log. */
  repeat(who: string, line: { time: number; level: string; msg: string; session?: string }): void {
    if (line.level === 'debug' && !this.#verbose) return
    this.tell(who, `${line.session ? `[${line.session}] ` : ''}${line.msg}`, line.time)
  }
}

/** A real plexus process whose log becomes part of the story. */
class Side {
  readonly #child: ChildProcess
  readonly #heard: string[] = []
  readonly #waiting = new Set<() => void>()
  readonly ended: Promise<number>

  constructor(story: Story, name: string, args: readonly string[]) {
    const program = fileURLToPath(new URL('./main.js', import.meta.url))
    this.#child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.ended = once(this.#child, 'close').then(([code]) => (typeof code === 'number' ? code : 1))
    if (!this.#child.stderr) return
    createInterface({ input: this.#child.stderr }).on('line', (line) => {
      const event = logLine(line)
      if (event) story.repeat(name, event)
      else story.tell(name, line)
      this.#heard.push(event?.msg ?? line)
      for (const wake of this.#waiting) wake()
    })
  }

  /** Resolves when the side has logged a line that matches. */
  async said(pattern: RegExp): Promise<void> {
    const failed = this.ended.then((code) => {
      throw new PlexusError('INTERNAL', `One side of the demonstration exited early with code ${code}.`)
    })
    failed.catch(() => {})
    const heard = new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!this.#heard.some((line) => pattern.test(line))) return
        stop()
        resolve()
      }
      const cancel = systemClock.timer(LIMIT, () => {
        stop()
        reject(new PlexusError('TIMEOUT', `The demonstration made no progress for ${LIMIT / 1000} s.`))
      })
      const stop = () => {
        cancel()
        this.#waiting.delete(look)
      }
      this.#waiting.add(look)
      look()
    })
    await Promise.race([heard, failed])
  }

  async end(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.ended
  }
}

function logLine(line: string): { time: number; level: string; msg: string; session?: string } | undefined {
  try {
    const value = JSON.parse(line) as { time?: unknown; level?: unknown; msg?: unknown; session?: string }
    if (typeof value.time !== 'number' || typeof value.msg !== 'string') return undefined
    const session = value.session === undefined ? {} : { session: value.session }
    return { time: value.time, level: String(value.level), msg: value.msg, ...session }
  } catch {
    return undefined
  }
}
