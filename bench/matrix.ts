/**
 * Every pair of networks, both ways round, over the DHT: a direct path, or the reason why there is none.
 *
 *     node dist/bench/matrix.js [times=5] [word…]
 *
 * prints the table of docs/nat-matrix.md; with words only the networks whose name contains one of them. Needs root and
 * nftables.
 */
import { Lab, labUnavailable } from '../test/natlab/index.js'
import { CELLS, hasPath, MATRIX_TYPES, type MatrixType } from '../test/natlab/matrix.js'
import { type CellResult, MatrixRig } from '../test/natlab/matrix-rig.js'
import { median } from './median.js'

const [count = '5', ...words] = process.argv.slice(2)
const times = Number(count)

const reason = labUnavailable()
if (reason !== undefined) {
  process.stderr.write(`no laboratory: ${reason}\n`)
  process.exit(1)
}

const types = MATRIX_TYPES.filter((type) => words.length === 0 || words.some((word) => type.includes(word)))
const cells = CELLS.filter(({ inviter, accepter }) => types.includes(inviter) && types.includes(accepter))

/** How each reason is written in the table. */
const REASON = { blocked: 'UDP blocked here', silent: 'peer silent', impossible: 'no path' } as const

function shown(inviter: MatrixType, accepter: MatrixType, results: readonly CellResult[]): string {
  const cell = cells.find((each) => each.inviter === inviter && each.accepter === accepter)
  if (!cell) return ''
  const own = results.filter((result) => result.cell === cell)
  const good = own.filter(({ complaint }) => complaint === undefined)
  const time = (median(own.map(({ ms }) => ms)) / 1000).toFixed(1)
  const what = hasPath(cell.expected) ? cell.expected : REASON[cell.expected]
  const score = good.length === own.length ? '' : `, ${good.length} of ${own.length}`
  return `${what} ${time}${score}`
}

const began = performance.now()
const lab = await Lab.open()
const rig = await MatrixRig.open(lab, types)
process.stderr.write(`opened in ${Math.round((performance.now() - began) / 1000)} s\n`)
const results = await rig.run(cells, times, ({ cell, complaint, ms, told }) => {
  const mark = complaint === undefined ? 'ok' : 'NOT AS EXPECTED'
  process.stderr.write(
    `${mark} ${cell.inviter} × ${cell.accepter}: ${cell.expected}, ${told} after ${ms} ms\n`,
  )
})
await rig.close()
await lab.close()

const wrong = results.filter(({ complaint }) => complaint !== undefined)
if (process.env.STORIES) for (const { complaint } of wrong) process.stderr.write(`${complaint}\n`)
const rows = types.map((inviter) => [inviter, ...types.map((accepter) => shown(inviter, accepter, results))])
const table = [['inviter ↓ accepter →', ...types], ['-', ...types.map(() => '-')], ...rows]
process.stdout.write(`${table.map((row) => `| ${row.join(' | ')} |`).join('\n')}\n`)
const seconds = Math.round((performance.now() - began) / 1000)
process.stdout.write(
  `\n${results.length - wrong.length} of ${results.length} as expected, ${times} of each, in ${seconds} s\n`,
)
process.exitCode = wrong.length === 0 ? 0 : 1
