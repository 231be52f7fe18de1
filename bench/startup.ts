/**
 * How long the program takes to say its version and its help, against a bare node, side by side.
 *
 *     node dist/bench/startup.js [rounds]
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../bin/cli/main.js', import.meta.url))
const rounds = Number(process.argv[2] ?? 20)

const CASES: Readonly<Record<string, readonly string[]>> = {
  'node -e 0': ['-e', '0'],
  'plexus --version': [MAIN, '--version'],
  'plexus --help': [MAIN, '--help'],
}

const times = new Map(Object.keys(CASES).map((name) => [name, [] as number[]]))
for (let round = 0; round < rounds; round++) {
  for (const [name, args] of Object.entries(CASES)) {
    const began = performance.now()
    const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' })
    if (status !== 0) throw new Error(`${name} ended with ${status}`)
    times.get(name)?.push(performance.now() - began)
  }
}

const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[list.length >> 1] ?? 0
const bare = median(times.get('node -e 0') ?? [])
for (const [name, list] of times) {
  const ms = median(list)
  console.log(
    `${name.padEnd(18)} ${ms.toFixed(1).padStart(6)} ms   ${(ms / bare).toFixed(2)} times node -e 0`,
  )
}
