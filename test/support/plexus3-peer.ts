import assert from 'node:assert/strict'
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PEER = fileURLToPath(new URL('../../../test/interop/plexus3_peer.py', import.meta.url))

/** Why the peer cannot be started here, if it cannot. */
export function plexus3PeerMissing(): string | false {
  const missing = ['python3', 'openssl'].filter((name) => spawnSync(name, ['--help']).error)
  return missing.length > 0 ? `${missing.join(' and ')} not found` : false
}

export interface PeerEvent {
  readonly event: 'waiting' | 'posted' | 'paired'
  readonly secret?: string
  readonly peer?: string
}

/** The plexus-3 peer in Python, which shares no code with the project, and what it says. */
export class Plexus3Peer {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #exit: Promise<unknown>

  /**
   * @param words of its command `pair`, after the role
   * @param start starts it somewhere else, in a namespace for instance
   */
  constructor(
    role: 'inviter' | 'accepter',
    words: readonly string[],
    env: Record<string, string> = {},
    start: (command: string, args: string[], options: SpawnOptions) => ChildProcess = spawn,
  ) {
    this.#child = start('python3', [PEER, 'pair', '--role', role, ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    this.#exit = new Promise((resolve) => this.#child.once('close', resolve))
    if (!this.#child.stdout) throw new Error('no standard output')
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** What it says next, which is this. */
  async hears(event: PeerEvent['event']): Promise<PeerEvent> {
    const { value, done } = await this.#lines.next()
    assert.ok(!done, `the peer ended before it ${event}`)
    const said = JSON.parse(value) as PeerEvent
    assert.equal(said.event, event)
    return said
  }

  async close(): Promise<void> {
    this.#child.kill()
    await this.#exit
  }
}

/** Whatever its command `seal` or `open` prints. */
export function plexus3Peer(words: readonly string[], input = ''): Buffer {
  const { status, stdout, stderr } = spawnSync('python3', [PEER, ...words], { input })
  if (status !== 0) throw new Error(stderr.toString())
  return stdout
}
