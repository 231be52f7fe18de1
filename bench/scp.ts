/**
 * scp of a file through two NATs: OpenSSH by `--import` and by ProxyCommand, over the DHT of the laboratory.
 *
 *     node dist/bench/scp.js [megabytes=100]
 *
 * Prints how long each took and whether the file is the same. Needs root, nftables and openssh-server.
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../src/cli/clock.js'
import { Lab } from '../test/natlab/index.js'
import { PairingRig, PROGRAM } from '../test/natlab/pairing-rig.js'
import { OpenSsh } from '../test/support/open-ssh.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

const megabytes = Number(process.argv[2] ?? '100')
const lab = await Lab.open()
const rig = await PairingRig.open(lab, [ALICE, BOB])
const a = await lab.side('a', 'port-restricted')
const b = await lab.side('b', 'port-restricted')
const keys = new OpenSsh(rig.directory)
await keys.serve(b, '127.0.0.1', 22)
await rig.accepter(b, BOB, ['--export=ssh=22'])
const file = join(rig.directory, 'file')
writeFileSync(file, systemRandom(megabytes * 1_000_000))
const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

async function copy(what: string, options: readonly string[], host: string): Promise<void> {
  const to = join(rig.directory, 'copy')
  const began = systemClock.now()
  const { stderr, status } = await a.exec('scp', [...keys.options, ...options, file, `root@${host}:${to}`])
  const took = (systemClock.now() - began) / 1000
  const same = status === 0 && digest(to) === digest(file)
  const rate = ((megabytes * 8) / took).toFixed(0)
  process.stdout.write(
    `${what}: ${megabytes} MB in ${took.toFixed(1)} s, ${rate} Mbit/s, ${same ? 'the same' : `different: ${stderr}`}\n`,
  )
  if (!same) process.exitCode = 1
}

const proxy = [process.execPath, PROGRAM, ...rig.flags(ALICE, ['--stdio=ssh', '--log-level=warning'])]
const words = [...proxy, `--peer-info=${BOB}`].map((word) => `'${word}'`).join(' ')
await copy('scp by ProxyCommand, pairing included', ['-o', `ProxyCommand=${words}`], 'server')
const inviter = rig.inviter(a, ALICE, BOB, ['--import=ssh=2222'])
await inviter.said(/tunnel up/)
await copy('scp by --import', ['-P', '2222'], '127.0.0.1')
await rig.close()
await lab.close()
