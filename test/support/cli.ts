import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The program as it is installed. */
export const PROGRAM = fileURLToPath(new URL('../../bin/cli/main.js', import.meta.url))

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs `plexus` with these words, as a process of its own without a terminal, and waits for its end. */
export async function plexus(
  args: readonly string[],
  input = '',
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return await run(process.execPath, [PROGRAM, ...args], input, env)
}

/** The same on a terminal of its own, where `answer` is typed once it has asked. */
export async function plexusOnTerminal(args: readonly string[], answer: string): Promise<Ended> {
  const words = [process.execPath, PROGRAM, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`)
  return await run('script', ['-qec', words.join(' '), '/dev/null'], { question: /\[y\/N\]/, answer })
}

async function run(
  file: string,
  args: readonly string[],
  input: string | { question: RegExp; answer: string },
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const child = spawn(file, args, { stdio: 'pipe', env: { ...process.env, ...env } })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      if (typeof input === 'string' || child.stdin.writableEnded) return
      if (input.question.test(output.stdout)) child.stdin.end(input.answer)
    })
  }
  child.stdin.on('error', () => {}) // it may end without having read it
  if (typeof input === 'string') child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code: Number(code), ...output }
}
