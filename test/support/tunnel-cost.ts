import assert from 'node:assert/strict'
import { type Cost, TunnelAdversary } from './tunnel-adversary.js'
import type { Costly } from './tunnel-corpus.js'

/**
 * What a datagram costs, the least of several times, each on fresh state: another process, or the garbage collector, may
 * have had the machine meanwhile, and the first times the engine is still compiling.
 * @param good once it is this little it is not measured again
 */
export function cheapest(costly: Costly, repetitions: number, good = 0): Cost {
  let least: Cost | undefined
  for (let time = 0; time < repetitions; time++) {
    const { adversary, frames } = costly.prepare()
    assert.equal(adversary.victim.state, 'open', costly.name)
    const said = adversary.say(frames)
    // what it sends of its own is paced by what the path takes, and costs what that weighs
    const cost = costly.brings === 'data' ? { ...said, ms: said.receiving } : said
    if (!least || cost.ms < least.ms) least = cost
    if (least.ms < good) break
  }
  return least ?? assert.fail('At least once.')
}

/** Ordinary datagrams that a machine of today handles in about 1 ms. */
const ORDINARY = 200

/** What two hundred datagrams full of data cost that are read at once, in ms: the measure for all others. */
export function ordinary(repetitions = 20): number {
  const adversary = new TunnelAdversary({ behaviour: 'reads' })
  const data = Buffer.alloc(1_100)
  let least = Number.POSITIVE_INFINITY
  let offset = 0
  for (let time = 0; time < repetitions; time++) {
    let ms = 0
    for (let count = 0; count < ORDINARY; count++) {
      const cost = adversary.say((writer) => {
        const header = offset === 0 ? [0, 0] : []
        writer.stream(0, offset, header.length + data.length, false)
        writer.target.set(header, writer.at)
        writer.target.set(data, writer.at + header.length)
        writer.at += header.length + data.length
        offset += header.length + data.length
      })
      ms += cost.ms
    }
    adversary.acknowledge(adversary.got.slice(-50))
    assert.equal(adversary.victim.state, 'open')
    least = Math.min(least, ms)
  }
  return least
}
