import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The built program, as users start it. */
const MAIN = fileURLToPath(new URL('../../bin/cli/main.js', import.meta.url))

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Its standard input is a pipe of the test's; without it there is none. */
  readonly input?: 'pipe'
  /** A program and its arguments that start it. */
  readonly under?: readonly string[]
  /** Another copy of the program. */
  readonly main?: string
}

/** How a run of the program ended, and all that it said. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A real process of the program, with what it has said so far. */
export class Program {
  readonly process: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''
  readonly #looks = new Set<() => void>()

  constructor(
    args: readonly string[],
    { env = {}, cwd, input, under = [], main = MAIN }: ProgramOptions = {},
  ) {
    // nothing of the tests' own environment decides what the flags are
    const inherited = Object.entries(process.env).filter(([name]) => !/^PLEXUS_|^XDG_/.test(name))
    const [command, ...words] = [...under, process.execPath, main, ...args]
    this.process = spawn(command as string, words, {
      stdio: [input ?? 'ignore', 'pipe', 'pipe'],
      env: { ...Object.fromEntries(inherited), ...env },
      ...(cwd === undefined ? {} : { cwd }),
    })
    this.process.stdout?.on('data', (data: Buffer) => this.#heard('stdout', data))
    this.process.stderr?.on('data', (data: Buffer) => this.#heard('stderr', data))
    this.ended = once(this.process, 'close').then(([code]) => {
      for (const look of this.#looks) look()
      return { code: code as number | null, stdout: this.stdout, stderr: this.stderr }
    })
  }

  #heard(stream: 'stdout' | 'stderr', data: Buffer): void {
    this[stream] += data.toString()
    for (const look of this.#looks) look()
  }

  /** Resolves when either stream matches; rejects with what was said if the program ends before. */
  said(pattern: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const heard = pattern.test(this.stderr) || pattern.test(this.stdout)
        const gone = this.process.exitCode !== null || this.process.signalCode !== null
        if (!heard && !gone) return
        this.#looks.delete(look)
        if (heard) resolve()
        else reject(new Error(`ended before it said ${pattern}:\n${this.stderr}\n${this.stdout}`))
      }
      this.#looks.add(look)
      look()
    })
  }

  /** How often the log matched so far. */
  times(pattern: RegExp): number {
    return [...this.stderr.matchAll(new RegExp(pattern, 'g'))].length
  }

  /** Sends a signal and resolves when the program has ended. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.process.kill(signal)
    return await this.ended
  }
}

/** Runs the program to its end. */
export function run(args: readonly string[], options: ProgramOptions = {}): Promise<Ended> {
  return new Program(args, options).ended
}
