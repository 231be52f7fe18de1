import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { namespaceFile } from './namespace.js'

/** What a program left when it ended. */
export interface Finished {
  readonly stdout: string
  readonly stderr: string
  /** The exit code, or undefined if a signal ended it. */
  readonly status: number | undefined
}

export interface ExecOptions {
  readonly input?: string
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly signal?: AbortSignal
}

/** A network namespace of the laboratory: a host, a NAT, a core router or the servers. */
export class Machine {
  /** What it is called in the laboratory, for example `a` or `a-nat1`. */
  readonly name: string
  readonly namespace: string
  /** The interface that faces the internet. */
  readonly uplink: string

  constructor(name: string, namespace: string, uplink: string) {
    this.name = name
    this.namespace = namespace
    this.uplink = uplink
  }

  /**
   * Starts a program inside, the leader of its own process group, so `process.kill(-child.pid, …)` reaches its children
   * too. Closing the laboratory kills whatever still runs.
   */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    const words = [`--net=${namespaceFile(this.namespace)}`, '--', command, ...args]
    return spawn('nsenter', words, { ...options, detached: true })
  }

  /** Runs a program inside to its end. An exit code is no error; a program that cannot be started ends with 127. */
  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<Finished> {
    const { input = '', signal, ...rest } = options
    return new Promise((resolve, reject) => {
      const child = this.spawn(command, args, { ...rest, stdio: 'pipe' })
      const output = { stdout: '', stderr: '' }
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output.stdout += text
      })
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        output.stderr += text
      })
      child.stdin?.on('error', () => {})
      const onabort = () => {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      }
      signal?.addEventListener('abort', onabort, { once: true })
      child.once('error', reject)
      child.once('close', (code) => {
        signal?.removeEventListener('abort', onabort)
        if (signal?.aborted) reject(signal.reason)
        else resolve({ ...output, status: code ?? undefined })
      })
      child.stdin?.end(input)
    })
  }
}
