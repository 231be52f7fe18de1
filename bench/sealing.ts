/**
 * How long sealing and unsealing an offer takes, by the kind of key that both sides have.
 * `node dist/bench/sealing.js [times=200]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseIdentity } from '../src/identity/index.js'
import { seal, unseal } from '../src/sealing/index.js'
import { hostWith, KEYS } from './key-host.js'
import { median } from './median.js'

/** An offer with some candidates has about this many bytes. */
const CONTENT = Buffer.alloc(700, 'x')
const NAME = parseIdentity('bench@example.com/bench')

const times = Number(process.argv[2] ?? 200)
const directory = mkdtempSync(join(tmpdir(), 'plexus-sealing-'))
try {
  for (const [name, key] of Object.entries(KEYS)) {
    const host = await hostWith(join(directory, name), NAME, key)
    const took = { seal: [] as number[], unseal: [] as number[] }
    for (let time = 0; time < times; time++) {
      const start = performance.now()
      const sealed = await seal(CONTENT, host, host.certificate)
      const between = performance.now()
      const opened = await unseal(sealed, host)
      opened.verify(host.certificate)
      took.seal.push(between - start)
      took.unseal.push(performance.now() - between)
    }
    process.stdout.write(
      `${name}: seal ${median(took.seal).toFixed(2)} ms, unseal ${median(took.unseal).toFixed(2)} ms, ${times} times\n`,
    )
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
