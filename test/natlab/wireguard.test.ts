import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { hookExample } from '../support/hook-examples.js'
import { HOOKS } from '../support/hooks.js'
import { skip, until } from './fixture.js'
import { Lab, type Side } from './index.js'
import { PairingRig, type Process } from './pairing-rig.js'

const HOOK = join(HOOKS, 'wireguard')
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'

const absent = ['wg', 'wireguard-go', 'ping', 'openssl'].find((name) => !existsSync(`/usr/bin/${name}`))
/** Why a VPN cannot be had here. */
const missing =
  skip ||
  (absent !== undefined && `${absent} is not installed`) ||
  (existsSync('/dev/net/tun') ? false : 'there is no /dev/net/tun')

describe('the wireguard hook between two machines behind NATs', { skip: missing }, () => {
  let lab: Lab
  let rig: PairingRig
  let a: Side
  let b: Side
  let accepter: Process
  let inviter: Process
  /** What the hook of each side told: its interface, its two addresses, and those of the other one. */
  let told: Map<Side, readonly string[]>
  const hook = hookExample('wireguard')

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    a = await lab.side('a', 'port-restricted')
    b = await lab.side('b', 'port-restricted')
    accepter = await rig.accepter(b, BOB, hook.accepter)
    inviter = rig.inviter(a, ALICE, BOB, hook.inviter)
    told = new Map([
      [a, await introduction(inviter)],
      [b, await introduction(accepter)],
    ])
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  test('carries a ping both ways, over IPv4 and over IPv6', async () => {
    const [, own = '', own6 = '', other = '', other6 = ''] = told.get(a) ?? []
    assert.deepEqual([own, other], ['10.77.0.2', '10.77.0.1'])
    assert.deepEqual(told.get(b)?.slice(1), [other, other6, own, own6])
    for (const [from, to] of [
      [a, other],
      [a, other6],
      [b, own],
      [b, own6],
    ] as const) {
      await until(async () => (await from.exec('ping', ['-c', '1', '-W', '1', to])).status === 0)
    }
  })

  test('speaks from the punched port to the punched port, and keeps the hole open', async () => {
    for (const [machine, other, process] of [
      [a, b, inviter],
      [b, a, accepter],
    ] as const) {
      assert.equal((await wg(machine, 'persistent-keepalive')).split(/\s+/)[1], '25')
      assert.equal((await wg(machine, 'endpoints')).split(/[\s:]+/).at(-3), other.publicAddress)
      const port = (await wg(machine, 'listen-port')).trim()
      const { msg } = await process.said(/^punched in/)
      assert.ok(msg.includes(`${machine.address}:${port} to `), msg)
    }
  })

  test('has a preshared key and two private keys that no argument list shows', async () => {
    const secrets = await Promise.all(
      [a, b].flatMap((machine) => [wg(machine, 'private-key'), wg(machine, 'preshared-keys')]),
    )
    const [one = '', shared = '', two = '', same = ''] = secrets.map(
      (text) => text.trim().split(/\s+/).at(-1) ?? '',
    )
    for (const secret of [one, shared, two]) assert.match(secret, /^[A-Za-z0-9+/]{43}=$/)
    assert.equal(shared, same)
    assert.equal(new Set([one, shared, two]).size, 3)
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const words = read(`/proc/${pid}/cmdline`)
      for (const secret of [one, shared, two]) assert.ok(!words.includes(secret), words)
    }
    const story = `${inviter.story()}${accepter.story()}`
    for (const secret of [one, shared, two]) assert.ok(!story.includes(secret))
  })

  /** What `wg show` says of the interface of a side. */
  async function wg(machine: Side, what: string): Promise<string> {
    const { stdout, stderr, status } = await machine.exec('wg', ['show', told.get(machine)?.[0] ?? '', what])
    assert.equal(status, 0, stderr)
    return stdout
  }

  test('removes its interface when it is ended', async () => {
    await Promise.all([inviter.stop(), accepter.stop()])
    for (const machine of [a, b]) {
      const { stdout } = await machine.exec('ip', ['-o', 'link'])
      assert.doesNotMatch(stdout, /plexus-/)
    }
  })
})

test('the wireguard hook ends, with its interface, when the peer is not heard from', {
  skip: missing,
}, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'plexus-wireguard-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const keyFile = join(directory, 'key')
  await writeFile(keyFile, `${Buffer.alloc(32, 7).toString('base64')}\n`, { mode: 0o600 })
  await using lab = await Lab.open()
  const env = {
    PATH: process.env.PATH,
    PLEXUS_ROLE: 'inviter',
    PLEXUS_APP: 'lab',
    PLEXUS_HOST_ID: `${process.pid}@px.test/laptop`,
    PLEXUS_PEER_ID: BOB,
    PLEXUS_INNER_PORT: '4001',
    PLEXUS_ALIEN: '192.0.2.1:4001',
    PLEXUS_KEY_FILE: keyFile,
    PLEXUS_VPN_SILENCE: '1',
  }
  const { status, stderr, stdout } = await lab.servers.exec(HOOK, [], { env })
  assert.equal(status, 1, stderr)
  assert.match(stdout, /^wireguard: on plexus-/m)
  assert.match(stderr, /^wireguard: bob@px\.test\/server has not been heard from for \d+ s$/m)
  assert.doesNotMatch((await lab.servers.exec('ip', ['-o', 'link'])).stdout, /plexus-/)
})

async function introduction(process: Process): Promise<string[]> {
  const line = /on (plexus-[0-9a-f]{8}), this side is (\S+) and (\S+), .* is (\S+) and (\S+)$/m
  await until(() => process.lines.some((said) => line.test(said)))
  return [...(line.exec(process.lines.join('\n')) ?? [])].slice(1)
}

/** A file of a process, or nothing if it has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
