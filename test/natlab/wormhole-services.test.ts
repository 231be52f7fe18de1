import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemRandom } from '../../src/cli/clock.js'
import { OpenSsh, openSshUnavailable } from '../support/open-ssh.js'
import { skip, until } from './fixture.js'
import { type Finished, Lab, type Side } from './index.js'
import { PairingRig, PROGRAM, type Process } from './pairing-rig.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
/** Bytes of the file that scp copies each way. */
const FILE = 10_000_000

/** Why a test of these programs cannot run here. */
function without(...programs: string[]): string | false {
  const missing = programs.find(
    (name) => !['/usr/bin', '/usr/sbin'].some((dir) => existsSync(`${dir}/${name}`)),
  )
  return missing !== undefined && `${missing} is not installed`
}

describe('services of a machine behind a NAT, reached from a machine behind another', { skip }, () => {
  let lab: Lab
  let rig: PairingRig
  let a: Side
  let b: Side
  let accepter: Process
  let inviter: Process
  let keys: OpenSsh

  const path = (name: string) => join(rig.directory, name)
  /** Runs a service on the far machine; closing the laboratory ends it. */
  const serve = (command: string, args: readonly string[]): ChildProcess =>
    b.spawn(command, args, { stdio: 'ignore' })
  /** Runs a client on the near machine until it succeeds. */
  const succeeds = async (command: string, args: readonly string[]): Promise<string> => {
    let last: Finished | undefined
    await until(async () => {
      last = await a.exec(command, args)
      return last.status === 0 && !/NOAUTH|Could not connect|timed out/.test(last.stdout)
    })
    return last?.stdout ?? ''
  }

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [ALICE, BOB])
    a = await lab.side('a', 'port-restricted')
    b = await lab.side('b', 'port-restricted')
    if (!openSshUnavailable()) {
      keys = new OpenSsh(rig.directory)
      await keys.serve(b, '127.0.0.1', 22)
    }
    const redis = ['--port', '0', '--unixsocket', path('redis.sock'), '--dir', rig.directory, '--save', '']
    // the server is this very program under another name, without a package that starts one
    symlinkSync('/usr/bin/redis-check-rdb', path('redis-server'))
    serve(path('redis-server'), redis).once('error', () => {})
    const zone = ['--address=/service.test/192.0.2.53', '--no-resolv', '--no-hosts', '--conf-file=/dev/null']
    const bind = ['--port=5353', '--listen-address=127.0.0.1', '--bind-interfaces', '--keep-in-foreground']
    serve('dnsmasq', [...zone, ...bind, '--user=root', '--pid-file=']).once('error', () => {})
    accepter = await rig.accepter(b, BOB, [
      '--export=ssh=22',
      '--export=dns=udp:127.0.0.1:5353',
      `--export=cache=unix:${path('redis.sock')}`,
      '--export=nobody=9',
    ])
    inviter = rig.inviter(a, ALICE, BOB, [
      '--import=ssh=2222',
      '--import=dns=udp:127.0.0.1:5300',
      `--import=cache=unix:${path('cache.sock')}`,
      '--import=nobody=9999',
    ])
    await Promise.all([inviter.said(/tunnel up/), accepter.said(/tunnel up/)])
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  test('ssh logs in by --import', { skip: openSshUnavailable() }, async () => {
    const command = ['-p', '2222', 'root@127.0.0.1', 'ip -o -4 addr show dev eth0']
    const { stdout, stderr } = await a.exec('ssh', [...keys.options, ...command])
    assert.ok(stdout.includes(` ${b.address}/`), stdout + stderr)
  })

  test('ssh logs in by ProxyCommand, and ends with the exit code of the far command', {
    skip: openSshUnavailable(),
  }, async () => {
    const proxy = [process.execPath, PROGRAM, ...rig.flags(ALICE, ['--stdio=ssh', '--log-level=warning'])]
    const option = `ProxyCommand=${[...proxy, `--peer-info=${BOB}`].map((word) => `'${word}'`).join(' ')}`
    const command = ['-o', option, 'root@server', 'ip -o -4 addr show dev eth0; exit 7']
    const { stdout, stderr, status } = await a.exec('ssh', [...keys.options, ...command])
    assert.ok(stdout.includes(` ${b.address}/`), stdout + stderr)
    assert.equal(status, 7)
    assert.equal(stderr, '')
  })

  test('scp copies a file there and back', { skip: openSshUnavailable() }, async () => {
    const bytes = systemRandom(FILE)
    writeFileSync(path('file'), bytes)
    for (const [from, to] of [
      [path('file'), `root@127.0.0.1:${path('there')}`],
      [`root@127.0.0.1:${path('there')}`, path('back')],
    ] as const) {
      const { stderr, status } = await a.exec('scp', [...keys.options, '-P', '2222', from, to])
      assert.equal(status, 0, stderr)
    }
    assert.equal(digest(readFileSync(path('back'))), digest(bytes))
  })

  test('dig asks a DNS server by udp:', { skip: without('dig', 'dnsmasq') }, async () => {
    const question = ['-p', '5300', 'any.service.test', 'A', '+short', '+time=2', '+tries=1', '+notcp']
    assert.equal(await succeeds('dig', ['@127.0.0.1', ...question]), '192.0.2.53\n')
  })

  test('redis-cli speaks with a Redis by unix:', {
    skip: without('redis-check-rdb', 'redis-cli'),
  }, async () => {
    const redis = (...words: string[]) => succeeds('redis-cli', ['-s', path('cache.sock'), ...words])
    assert.equal(await redis('ping'), 'PONG\n')
    const value = systemRandom(500_000).toString('hex')
    const { stdout } = await a.exec('redis-cli', ['-s', path('cache.sock'), '-x', 'set', 'large'], {
      input: value,
    })
    assert.equal(stdout, 'OK\n')
    assert.equal((await redis('get', 'large')).trimEnd(), value)
  })

  test('what nobody serves is refused at once, and the log says why', async () => {
    const source = `require('node:net').connect(9999, '127.0.0.1').on('error', () => {}).on('close', () => process.exit(0))`
    const { status } = await a.exec(process.execPath, ['-e', source])
    assert.equal(status, 0)
    const { msg } = await inviter.event(({ level, msg }) => level === 'warn' && /nobody/.test(msg))
    assert.match(msg, /refused/)
  })

  test('both end well when they are told to', async () => {
    inviter.child.kill('SIGTERM')
    assert.equal(await inviter.ended, 0, inviter.story())
    accepter.child.kill('SIGTERM')
    assert.equal(await accepter.ended, 0, accepter.story())
  })
})

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
