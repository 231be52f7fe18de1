import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, createReadStream, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import type { Child, Wildcards } from '../../src/exec/index.js'
import { HOOKS } from '../support/hooks.js'
import { PASSAGE, Stage } from '../unit/exec-stage.js'

const HOOK = join(HOOKS, 'openvpn')

/** Why two machines with a VPN between them cannot be made here, if so. */
function unable(): string | false {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun'
  const path = ['/usr/sbin', '/usr/bin', '/sbin', '/bin']
  const missing = ['openvpn', 'openssl', 'ip', 'ping'].filter(
    (name) => !path.some((directory) => existsSync(`${directory}/${name}`)),
  )
  return missing.length > 0 && `${missing.join(', ')} is not installed`
}

const skip = unable()

interface Machine {
  readonly role: Wildcards['role']
  readonly namespace: string
  readonly device: string
  readonly v4: string
  readonly v6: string
  readonly certificate: string
  readonly key: string
}

/** Two machines side by side, each a network namespace with an identity. */
function machines(t: TestContext, stage: Stage, keyTypes: readonly [string, string]): [Machine, Machine] {
  const tag = `${process.pid}${String.fromCharCode(97 + serial++)}`
  const machine = (role: Wildcards['role'], number: 1 | 2): Machine => ({
    role,
    namespace: `plexus-vpn-${number}-${tag}`,
    device: `pv${number}-${tag}`,
    v4: `192.0.2.${number}`,
    v6: `fd00::${number}`,
    certificate: stage.path(`${role}.crt`),
    key: stage.path(`${role}.key`),
  })
  const both = [machine('accepter', 1), machine('inviter', 2)] as const
  t.after(() => {
    for (const { namespace } of both) ip('netns', 'del', namespace)
  })
  for (const { namespace } of both) ip('netns', 'add', namespace)
  const [a, b] = both
  ip(
    '-n',
    a.namespace,
    'link',
    'add',
    a.device,
    'type',
    'veth',
    'peer',
    'name',
    b.device,
    'netns',
    b.namespace,
  )
  for (const [index, { namespace, device, v4, v6, certificate, key, role }] of both.entries()) {
    ip('-n', namespace, 'addr', 'add', `${v4}/24`, 'dev', device)
    ip('-n', namespace, 'addr', 'add', `${v6}/64`, 'dev', device, 'nodad')
    ip('-n', namespace, 'link', 'set', device, 'up')
    const type = keyTypes[index] === 'ec' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['rsa:3072']
    const files = ['-nodes', '-keyout', key, '-out', certificate]
    const subject = ['-days', '3650', '-subj', `/CN=${role}@example.com\\/pin`]
    run('openssl', 'req', '-x509', '-newkey', ...type, ...files, ...subject)
  }
  return [a, b]
}

let serial = 0

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

const ip = (...args: string[]) => run('ip', ...args)

/** A VPN that was started on one machine, and what it says. */
interface Vpn {
  readonly child: Child
  /** Resolves when it says something that holds `phrase`; rejects if it ends before. */
  says(phrase: string): Promise<void>
}

/** A descriptor of a pipe, once somebody reads it. */
async function openedForReading(pipe: string): Promise<number> {
  for (;;) {
    try {
      return openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

async function startVpn(stage: Stage, own: Machine, other: Machine, family: 'v4' | 'v6'): Promise<Vpn> {
  const log = stage.fifo(`${own.role}.log`)
  const lines: string[] = []
  let woken = () => {}
  let over = false
  createInterface({ input: createReadStream(log) })
    .on('line', (line) => {
      lines.push(line)
      woken()
    })
    .on('close', () => {
      over = true
      woken()
    })
  const held = await openedForReading(log)
  const args = `netns exec ${own.namespace} '${HOOK}'`
  const child = await stage.start(
    { command: 'ip', args, log },
    {
      role: own.role,
      inner: { address: own[family], port: 4001 },
      peer: { address: other[family], port: 4001 },
      paths: { hostCertificate: own.certificate, hostKey: own.key, peerCertificate: other.certificate },
    },
  )
  closeSync(held)
  return {
    child,
    async says(phrase) {
      while (!lines.some((line) => line.includes(phrase))) {
        if (over) assert.fail(`the VPN of the ${own.role} ended without '${phrase}':\n${lines.join('\n')}`)
        await new Promise<void>((resolve) => {
          woken = resolve
        })
      }
    },
  }
}

/** Sends what a punch may leave behind, opaque datagrams between the very endpoints: one for each opcode of OpenVPN. */
function sendOpaque(from: Machine, to: Machine): void {
  const source = `
    const socket = require('node:dgram').createSocket('udp4')
    socket.bind(4001, '${from.v4}', async () => {
      for (let opcode = 0; opcode < 32; opcode++) {
        const opaque = require('node:crypto').randomBytes(60)
        opaque[0] = opcode << 3
        await new Promise((sent) => socket.send(opaque, 4001, '${to.v4}', sent))
      }
      socket.close()
    })`
  ip('netns', 'exec', from.namespace, process.execPath, '-e', source)
}

const CONNECTED = 'Initialization Sequence Completed'
const ping = (from: Machine, to: string) =>
  ip('netns', 'exec', from.namespace, 'ping', '-i', '0.2', '-c', '3', '-w', '20', to)

for (const [keys, family] of [
  [['rsa', 'rsa'], 'v4'],
  [['rsa', 'ec'], 'v6'],
] as const) {
  const title = `the openvpn hook joins two machines over ${family}, with ${keys.join(' and ')} keys`
  test(title, { skip, timeout: 90_000 }, async (t) => {
    const stage = new Stage(t)
    const [accepter, inviter] = machines(t, stage, keys)
    const server = await startVpn(stage, accepter, inviter, family)
    await server.says('link remote')
    if (family === 'v4') sendOpaque(inviter, accepter)
    const client = await startVpn(stage, inviter, accepter, family)
    await Promise.all([server.says(CONNECTED), client.says(CONNECTED)])
    assert.match(ping(inviter, '10.77.0.1'), / 0% packet loss/)
    assert.match(ping(accepter, '10.77.0.2'), / 0% packet loss/)
    for (const { child } of [server, client]) {
      const seen = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')
      assert.match(seen, /^openvpn\0/)
      assert.equal(seen.includes(PASSAGE.key.toString('base64')), false)
      assert.equal(seen.includes(String(PASSAGE.secret)), false)
    }
    await Promise.all([server.child.stop(), client.child.stop()])
    for (const { child } of [server, client]) assert.deepEqual(await child.exited, { code: 0, signal: null })
    assert.doesNotMatch(ip('-n', accepter.namespace, 'link'), /tun/)
  })
}

/** Gives a machine another certificate, with another key, that an authority signed. */
function issue(stage: Stage, machine: Machine): Machine {
  const certificate = stage.path(`${machine.role}.next.crt`)
  const key = stage.path(`${machine.role}.next.key`)
  const [authority, authorityKey, request] = ['ca.crt', 'ca.key', 'request'].map((name) => stage.path(name))
  assert.ok(authority && authorityKey && request)
  const type = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const own = ['-keyout', authorityKey, '-out', authority, '-subj', '/CN=authority']
  run('openssl', 'req', '-x509', '-newkey', ...type, ...own)
  run('openssl', 'req', '-newkey', ...type, '-keyout', key, '-out', request, '-subj', '/CN=machine')
  const signer = ['-CA', authority, '-CAkey', authorityKey, '-CAcreateserial']
  run('openssl', 'x509', '-req', '-in', request, '-out', certificate, ...signer)
  return { ...machine, certificate, key }
}

test('the openvpn hook knows the coming certificate of a peer, and one that an authority signed', {
  skip,
  timeout: 90_000,
}, async (t) => {
  const stage = new Stage(t)
  const [accepter, inviter] = machines(t, stage, ['ec', 'ec'])
  const renewed = issue(stage, inviter)
  const server = await startVpn(stage, accepter, inviter, 'v4')
  const client = await startVpn(stage, renewed, accepter, 'v4')
  await Promise.all([server.says(CONNECTED), client.says(CONNECTED)])
})

test('the openvpn hook lets nobody in but the peer of the repository', {
  skip,
  timeout: 90_000,
}, async (t) => {
  const stage = new Stage(t)
  const [accepter, inviter] = machines(t, stage, ['ec', 'ec'])
  const server = await startVpn(stage, accepter, { ...inviter, certificate: accepter.certificate }, 'v4')
  await startVpn(stage, inviter, accepter, 'v4')
  await server.says('certificate hash verification failed')
})
