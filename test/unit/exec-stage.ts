import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { type Child, type CommandSpec, parseCommand, start, type Wildcards } from '../../src/exec/index.js'
import { type Logger, sleep } from '../../src/net/index.js'

/** What a passage might have found. */
export const PASSAGE: Wildcards & { readonly key: Buffer } = {
  inner: { address: '192.0.2.10', port: 4001 },
  outer: { address: '198.51.100.20', port: 4002 },
  peer: { address: '203.0.113.30', port: 4003 },
  host: { owner: 'alice@example.com', pin: 'laptop' },
  peerId: { owner: 'bob@example.com', pin: 'server' },
  secret: 18_000_000_000_000_000_001n,
  key: Buffer.alloc(32, 0xab),
  paths: {
    hostCertificate: '/repo/h/cert.crt',
    hostKey: '/repo/h/private.key',
    peerCertificate: '/repo/p/cert.crt',
  },
  role: 'accepter',
  app: 'demo',
  session: '00ff00ff',
}

export interface LogLine {
  readonly level: string
  readonly fields: object
  readonly message: string
}

/** A log that keeps its lines. */
export function recorder(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const level = (name: string) => (fields: object, message: string) => {
    lines.push({ level: name, fields, message })
  }
  const log: Logger = {
    trace: level('trace'),
    debug: level('debug'),
    info: level('info'),
    warn: level('warn'),
    error: level('error'),
    child: () => log,
  }
  return { log, lines }
}

/** A temporary directory with commands in it; all that was started on it is gone when the test ends. */
export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), 'plexus-exec-test-'))
  readonly lines: LogLine[]
  readonly log: Logger
  /** What a command inherits: key files land in the stage. */
  readonly env: Record<string, string>
  readonly #children: Child[] = []

  constructor(t: TestContext) {
    const { log, lines } = recorder()
    this.log = log
    this.lines = lines
    this.env = { PATH: process.env.PATH ?? '', XDG_RUNTIME_DIR: this.directory }
    t.after(async () => {
      await Promise.all(this.#children.map((child) => child.stop()))
      rmSync(this.directory, { recursive: true, force: true })
    })
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8')
  }

  /** Makes an executable file and returns its path. */
  script(name: string, body: string, interpreter = '#!/bin/sh\n'): string {
    writeFileSync(this.path(name), `${interpreter}${body}\n`)
    chmodSync(this.path(name), 0o755)
    return this.path(name)
  }

  /** A named pipe: `told` resolves with what a command wrote into it, which is how a test waits for a command. */
  pipe(name: string): { path: string; told: Promise<string> } {
    const path = this.fifo(name)
    return { path, told: readFile(path, 'utf8') }
  }

  /** A named pipe for the test to write into: a command that reads it waits for the test. */
  fifo(name: string): string {
    execFileSync('mkfifo', [this.path(name)])
    return this.path(name)
  }

  async start(
    spec: CommandSpec,
    values: Partial<Wildcards> = {},
    options: { clock?: typeof systemClock; signal?: AbortSignal } = {},
  ): Promise<Child> {
    const command = parseCommand(spec, this)
    const child = await start(
      command,
      { ...PASSAGE, ...values },
      { clock: systemClock, ...this.base(), ...options },
    )
    this.#children.push(child)
    return child
  }

  base(): { log: Logger; env: Record<string, string> } {
    return { log: this.log, env: this.env }
  }
}

/** True while a process exists that is not a zombie. */
export function lives(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Whether a process that was killed goes: the system may take a moment to. */
export async function goes(pid: number): Promise<boolean> {
  const until = systemClock.now() + 5000
  while (lives(pid)) {
    if (systemClock.now() > until) return false
    await sleep(systemClock, 1)
  }
  return true
}
