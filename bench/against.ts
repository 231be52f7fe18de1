/**
 * Whether pairings of NATs that keep one mapping have become slower: this build and another one in turn, so that both
 * meet the same load.
 *
 *     node dist/bench/against.js <checkout> [rounds=5] [pair…]
 *
 * `<checkout>` is a directory with another version, built. A round is five pairings by each. Without a pair: full cone ×
 * address-restricted, and double × port-restricted. Needs root and nftables.
 */
import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median } from './median.js'

const HERE = fileURLToPath(new URL('../..', import.meta.url))
const PAIRS = ['full-cone x address-restricted:', 'double x port-restricted:']

const [checkout, count = '5', ...named] = process.argv.slice(2)
if (checkout === undefined) {
  process.stderr.write('name the directory of the other version\n')
  process.exit(2)
}
const versions = { other: resolve(checkout), this: HERE }

/** Five pairings by the bench of that version, their median: ms from the start of the inviter until both commands run. */
function fivePairings(directory: string, pair: string): number {
  const args = [join(directory, 'dist/bench/pairings.js'), '5', pair.replace(':', '')]
  const { stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  const line = stdout.split('\n').find((each) => each.startsWith(pair)) ?? ''
  return Number(/median (\d+) ms/.exec(line)?.[1] ?? Number.NaN)
}

for (const pair of named.length > 0 ? named : PAIRS) {
  const took: Record<keyof typeof versions, number[]> = { other: [], this: [] }
  for (let round = 0; round < Number(count); round++) {
    for (const [name, directory] of Object.entries(versions)) {
      took[name as keyof typeof versions].push(fivePairings(directory, pair))
    }
  }
  const [before, now] = [median(took.other), median(took.this)]
  process.stdout.write(
    `${pair} ${before} ms by the other, ${now} ms by this one, ratio ${(now / before).toFixed(2)}\n`,
  )
}
