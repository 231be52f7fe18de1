import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hookExample } from '../support/hook-examples.js'
import { HOOKS } from '../support/hooks.js'
import { OpenSsh, openSshUnavailable } from '../support/open-ssh.js'
import { skip, until } from './fixture.js'
import { Lab, type Side } from './index.js'
import { PairingRig } from './pairing-rig.js'

const TRANSFER = fileURLToPath(new URL('../support/transfer.js', import.meta.url))
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

describe('hooks that carry a service through the hole', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let a: Side
  let b: Side

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    a = await lab.side('a', 'port-restricted')
    b = await lab.side('b', 'port-restricted')
    // the examples of the document name port 22
    for (const side of [a, b]) {
      const service = side.spawn(process.execPath, [TRANSFER, 'serve', '127.0.0.1', '22'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      if (service.stdout) await once(service.stdout, 'data')
    }
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  const works = async (side: Side, port: number) => {
    await until(async () => {
      const { stdout } = await side.exec(process.execPath, [
        TRANSFER,
        'send',
        '127.0.0.1',
        String(port),
        '0.1',
      ])
      return stdout === 'same\n'
    })
  }
  const command = (file: string, args: string) => [`--exec-command=${file}`, `--exec-args=${args}`]

  test('hooks/wormhole, from the inviter to the accepter', async () => {
    const hook = hookExample('wormhole')
    const accepter = await rig.accepter(b, BOB, hook.accepter)
    const inviter = rig.inviter(a, ALICE, BOB, hook.inviter)
    await inviter.said(/^the command runs/)
    await works(a, 2222)
    await inviter.stop()
    await accepter.said(/^the command exited with code 0/)
    await accepter.stop()
  })

  test('hooks/wormhole, from the accepter to the inviter', async () => {
    const hook = hookExample('wormhole', 1)
    const accepter = await rig.accepter(b, BOB, hook.accepter)
    const inviter = rig.inviter(a, ALICE, BOB, hook.inviter)
    await inviter.said(/^the command runs/)
    await works(b, 2222)
    await inviter.stop()
    await accepter.stop()
  })

  test('the command lines of the ancestor, as they are written there', async () => {
    const addresses = '--gateway=%innerip%:%innerport% --faraway=%peerip%:%peerport%'
    const line = (purpose: string, service: string) =>
      command('wormhole', `--purpose=${purpose} --service=${service} ${addresses}`)
    const accepter = await rig.accepter(b, BOB, line('export', '127.0.0.1:22'))
    const inviter = rig.inviter(a, ALICE, BOB, line('import', '127.0.0.1:7102'))
    await inviter.said(/^the command runs/)
    await works(a, 7102)
    await inviter.stop()
    await accepter.stop()
  })

  test('hooks/ssh runs a command at the other end, and ends with its exit code', {
    skip: openSshUnavailable(),
  }, async () => {
    const keys = new OpenSsh(rig.directory)
    const c = await lab.side('c', 'port-restricted')
    await keys.serve(c, '127.0.0.1', 22)
    const hook = hookExample('ssh')
    const accepter = await rig.accepter(c, BOB, hook.accepter)
    const known = join(rig.directory, 'learned')
    const options = [...keys.options.slice(2), '-o', `UserKnownHostsFile=${known}`]
    const args = [
      ...options,
      '-l',
      'root',
      'ip',
      '-o',
      '-4',
      'addr',
      'show',
      'dev',
      'eth0',
      '&&',
      'exit',
      '7',
    ]
    const words = args.map((word) => (/^[\w./=@-]+$/.test(word) ? word : `'${word}'`)).join(' ')
    const inviter = rig.inviter(a, ALICE, BOB, command(join(HOOKS, 'ssh'), words))
    assert.equal(await inviter.ended, 7, inviter.story())
    assert.ok(
      inviter.lines.some((line) => line.includes(` ${c.address}/`)),
      inviter.story(),
    )
    await accepter.said(/^the command exited with code 0/)
    await accepter.stop()
  })
})
