/**
 * Many bytes through the wormhole over a link that loses 1% of the packets and lets 1% be overtaken: are they right?
 *
 *     node dist/bench/transfer.js [megabytes=1000] [round trip, ms=20]
 *
 * Prints the verdict of the checksum at the far end, the rate, and what became of the packets. Needs root, and gcc for
 * the wire.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/cli/clock.js'
import { wormhole } from './forward/carrier.js'
import { Link } from './forward/link.js'

const TRANSFER = fileURLToPath(new URL('../test/support/transfer.js', import.meta.url))
const PORT = 7000
const PERCENT = 1

const megabytes = process.argv[2] ?? '1000'
const roundTrip = Number(process.argv[3] ?? '20')
const directory = mkdtempSync(join(tmpdir(), 'plexus-transfer-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))

const program = Link.build(directory)
if (program === undefined) {
  process.stderr.write('the link needs gcc\n')
  process.exit(1)
}
const quality = { name: 'lossy', roundTrip, loss: PERCENT, overtaken: PERCENT }
const link = await Link.open(quality, program)
link.far.spawn(process.execPath, [TRANSFER, 'serve', '127.0.0.1', String(PORT)], { stdio: 'ignore' })
const carrier = await wormhole(link, PORT, directory)
const { address, port } = carrier.target
const began = systemClock.now()
const { stdout, stderr, status } = await link.near.exec(process.execPath, [
  TRANSFER,
  'send',
  address,
  String(port),
  megabytes,
])
const took = (systemClock.now() - began) / 1000
await carrier.close()
const carried = await link.close()
const rate = ((Number(megabytes) * 8) / took).toFixed(0)
process.stdout.write(
  `${megabytes} MB in ${took.toFixed(1)} s, ${rate} Mbit/s: ${stdout.trim()}\n${stderr}` +
    `the wire: ${carried?.packets} packets, ${carried?.lost} lost, ${carried?.overtaken} overtaken\n`,
)
process.exitCode = status ?? 1
