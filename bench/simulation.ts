/**
 * The punch in virtual time, in full: 10,000 pairings with any loss up to 30%, 10,000 with exactly 30%, and
 * 10,000 whose deadlines fall into the handshake, over every pair of mapping × filtering. Prints what came of each pair of networks and how long it took.
 * `node dist/bench/simulation.js [pairings]`
 */
import { canConnect, nameOf } from '../test/simulation/nat.js'
import { describe, type Outcome, type Scenario, simulate } from '../test/simulation/pairing.js'
import { hurried, PLACES, scenario } from '../test/simulation/scenarios.js'

const count = Number(process.argv[2] ?? 10_000)
const print = (text: string) => process.stdout.write(`${text}\n`)

function quantile(sorted: readonly number[], q: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0)
}

function series(title: string, scenarioOf: (n: number) => Scenario): void {
  const began = performance.now()
  const cells = new Map<string, Outcome[]>()
  const verdicts = { passage: 0, failure: 0, disagreement: 0, crossed: 0 }
  let missed = 0
  let datagrams = 0
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const one = scenarioOf(n)
    const outcome = simulate(one)
    verdicts[outcome.verdict]++
    datagrams += outcome.datagrams
    if (outcome.verdict === 'disagreement' || outcome.verdict === 'crossed') print(describe(one, outcome))
    if (outcome.possible && outcome.verdict !== 'passage') {
      missed++
    }
    if (outcome.inviter.name === 'passage') times.push(outcome.inviter.after + Math.min(0, one.lag))
    const key = `${nameOf(one.inviter)}|${nameOf(one.accepter)}`
    const cell = cells.get(key) ?? []
    cells.set(key, cell)
    cell.push(outcome)
  }
  times.sort((a, b) => a - b)
  print(`\n## ${title}: ${count} pairings in ${((performance.now() - began) / 1000).toFixed(1)} s`)
  print(
    `${Object.entries(verdicts)
      .map(([name, n]) => `${name} ${n}`)
      .join(', ')}; possible but missed ${missed}`,
  )
  print(
    `inviter's time to a passage once both run: median ${quantile(times, 0.5)} ms, 90% ${quantile(times, 0.9)} ms, 99% ${quantile(times, 0.99)} ms, longest ${quantile(times, 1)} ms`,
  )
  print(`datagrams of both sides: ${(datagrams / count).toFixed(0)} for a pairing`)
  print('passages in percent, inviter down, accepter across; – where no path exists')
  const short = PLACES.map((place) => nameOf(place).replace(' ', '/'))
  print(`${''.padEnd(10)}${short.map((name) => name.padStart(10)).join('')}`)
  for (const inviter of PLACES) {
    const row = PLACES.map((accepter) => {
      const cell = cells.get(`${nameOf(inviter)}|${nameOf(accepter)}`) ?? []
      const passages = cell.filter(({ verdict }) => verdict === 'passage').length
      if (!canConnect(inviter, accepter) && passages === 0) return '–'
      return cell.length === 0 ? '' : ((100 * passages) / cell.length).toFixed(0)
    })
    print(`${nameOf(inviter).replace(' ', '/').padEnd(10)}${row.map((text) => text.padStart(10)).join('')}`)
  }
}

series('loss up to 30%', (n) => scenario(1, n))
series('30% loss', (n) => scenario(2, n, 0.3))
series('30% loss, deadlines in the middle of the handshake', (n) => hurried(12, n))
