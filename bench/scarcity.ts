/**
 * What is left for others while a hostile peer takes all that an accepter's system has little of.
 *
 *     node dist/bench/scarcity.js [checkout [row…]]
 *
 * With the directory of another version, built, the same of that one; with numbers only those rows. Needs root.
 */
import { join, resolve } from 'node:path'
import { underScarcity } from '../test/support/hostile/scarcity.js'

const [checkout = '', ...wanted] = process.argv.slice(2)
const main = checkout === '' ? {} : { main: join(resolve(checkout), 'dist/bin/cli/main.js') }
const ROWS = [
  ['64 descriptors', { descriptors: 64, attacks: ['connections held', 'tunnels without end'], while: 3000 }],
  ['1024 descriptors', { descriptors: 1024, attacks: ['every port'], while: 15_000 }],
  ['512 local ports, 7 tunnels', { ports: 512, attacks: ['every port'], while: 15_000 }],
] as const

process.stdout.write(
  '| what there is | other pairings | a new connection of another | descriptors | connections |\n',
)
process.stdout.write('| --- | --- | --- | --- | --- |\n')
for (const [index, [name, scarcity]] of ROWS.entries()) {
  if (wanted.length > 0 && !wanted.includes(`${index + 1}`)) continue
  const { pairings, connects, descriptors, connections } = underScarcity({ ...scarcity, ...main })
  const cells = [name, `${pairings} of 3`, connects ? 'yes' : 'no', descriptors, connections]
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}
