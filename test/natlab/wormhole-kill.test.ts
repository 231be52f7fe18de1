import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { skip, until } from './fixture.js'
import { Lab, type Side } from './index.js'
import { PairingRig } from './pairing-rig.js'

const TRANSFER = fileURLToPath(new URL('../support/transfer.js', import.meta.url))
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const EXPORT = ['--export=sink=7000']
const IMPORT = ['--import=sink=7000']

/** Sends some bytes and has them counted at the other end. */
async function works(near: Side): Promise<boolean> {
  const { stdout } = await near.exec(process.execPath, [TRANSFER, 'send', '127.0.0.1', '7000', '0.1'])
  return stdout === 'same\n'
}

describe('a tunnel of which one end is killed', { skip, concurrency: true }, () => {
  for (const victim of ['importing', 'exporting'] as const) {
    test(`the ${victim} one: the other one notices, and the next connection works`, async () => {
      await using lab = await Lab.open()
      const rig = await PairingRig.open(lab, [ALICE, BOB])
      try {
        const a = await lab.side('a', 'port-restricted')
        const b = await lab.side('b', 'port-restricted')
        const service = b.spawn(process.execPath, [TRANSFER, 'serve', '127.0.0.1', '7000'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        if (service.stdout) await once(service.stdout, 'data')
        const exporting = await rig.accepter(b, BOB, EXPORT)
        const importing = rig.inviter(a, ALICE, BOB, IMPORT)
        await importing.said(/the tunnel stands/)
        assert.ok(await works(a), importing.story())
        if (victim === 'importing') {
          await importing.stop('SIGKILL')
          await exporting.said(/the tunnel .*was lost/)
          const again = rig.inviter(a, ALICE, BOB, IMPORT)
          await again.said(/the tunnel stands/)
          assert.ok(await works(a), again.story())
        } else {
          await exporting.stop('SIGKILL')
          await rig.accepter(b, BOB, EXPORT)
          await importing.said(/the tunnel .*was lost/)
          // what is connected before it stands again waits
          assert.ok(await works(a), importing.story())
          await until(() => importing.events.filter(({ msg }) => /the tunnel stands/.test(msg)).length === 2)
        }
      } finally {
        await rig.close()
      }
    })
  }
})
