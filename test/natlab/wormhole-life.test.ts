import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { skip, until } from './fixture.js'
import { Lab, type Side, type SideType } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'

const TRANSFER = fileURLToPath(new URL('../support/transfer.js', import.meta.url))
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const EXPORT = ['--export=sink=7000']
const IMPORT = ['--import=sink=7000']
/** Enough that a transfer is under way when something happens, in MB. */
const LONG = 50

const RESTRICTED = ['port-restricted', 'port-restricted'] as const

/** Two sides with a tunnel between them, and a service at the accepter's. */
interface Stand {
  readonly lab: Lab
  readonly rig: PairingRig
  readonly a: Side
  readonly b: Side
  readonly importing: Process
  readonly exporting: Process
}

async function standing(
  [inviting, accepting]: readonly [SideType, SideType],
  use: (stand: Stand) => Promise<void>,
): Promise<void> {
  await using lab = await Lab.open()
  const rig = await PairingRig.open(lab, [ALICE, BOB])
  try {
    const a = await lab.side('a', inviting)
    const b = await lab.side('b', accepting)
    const service = b.spawn(process.execPath, [TRANSFER, 'serve', '127.0.0.1', '7000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    if (service.stdout) await once(service.stdout, 'data')
    const exporting = await rig.accepter(b, BOB, EXPORT)
    const importing = rig.inviter(a, ALICE, BOB, IMPORT)
    await importing.said(/tunnel up/)
    assert.equal(await sent(a), 'same\n', importing.story())
    await use({ lab, rig, a, b, importing, exporting })
  } finally {
    await rig.close()
  }
}

/** Sends some MB and has them counted at the other end. */
async function sent(near: Side, megabytes = 0.1): Promise<string> {
  const words = [TRANSFER, 'send', '127.0.0.1', '7000', String(megabytes)]
  return (await near.exec(process.execPath, words)).stdout
}

function times(process: Process, pattern: RegExp): number {
  return process.events.filter(({ msg }) => pattern.test(msg)).length
}

describe('the life of a tunnel', { skip, concurrency: true }, () => {
  test('the importing end is killed: the other one notices, and the next one to come works', async () => {
    await standing(RESTRICTED, async ({ rig, a, importing, exporting }) => {
      await importing.stop('SIGKILL')
      await exporting.said(/tunnel with \S+ lost/)
      const again = rig.inviter(a, ALICE, BOB, IMPORT)
      await again.said(/tunnel up/)
      assert.equal(await sent(a), 'same\n', again.story())
    })
  })

  test('the exporting end is killed: the other one notices, and the next connection works', async () => {
    await standing(RESTRICTED, async ({ rig, a, b, importing, exporting }) => {
      await exporting.stop('SIGKILL')
      await rig.accepter(b, BOB, EXPORT)
      await importing.said(/tunnel with \S+ lost/)
      // what is connected before it stands again waits
      assert.equal(await sent(a), 'same\n', importing.story())
      await until(() => times(importing, /tunnel up/) === 2)
    })
  })

  test('the NAT of an end forgets it in the middle of a transfer, and gives it another port: it goes on', async () => {
    // whose mappings are at random: one that is forgotten does not come back
    await standing(['symmetric', 'public'], async ({ lab, a, importing, exporting }) => {
      const before = times(exporting, /^a connection to 'sink'/)
      const sending = sent(a, LONG)
      await until(() => times(exporting, /^a connection to 'sink'/) > before)
      await lab.flush()
      assert.equal(await sending, 'same\n', importing.story())
      assert.equal(await sent(a), 'same\n', importing.story())
      for (const process of [importing, exporting])
        assert.equal(times(process, /tunnel up/), 1, process.story())
      await exporting.said(/the address of the peer changed/)
    })
  })
})
