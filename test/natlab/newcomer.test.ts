import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import {
  confirmed,
  installedPackage,
  plexusScript,
  type ReadmeCommand,
  readmeCommands,
} from '../support/readme.js'
import { patience, skip, until } from './fixture.js'
import { Lab, type Machine } from './index.js'
import { PairingRig } from './pairing-rig.js'

/** Why a VPN cannot be had here. */
const missing =
  skip ||
  (existsSync('/usr/sbin/openvpn') ? false : 'openvpn is not installed') ||
  (existsSync('/dev/net/tun') ? false : 'there is no /dev/net/tun') ||
  (existsSync('/usr/bin/ping') ? false : 'ping is not installed')

test('a newcomer who types what the README says reaches a service, then has a VPN, between two machines behind NATs', {
  skip: missing,
}, async () => {
  const typed = readmeCommands().filter(({ where }) => where !== 'anywhere')
  const lab = await Lab.open()
  const rig = await PairingRig.open(lab, [])
  const directory = await mkdtemp(join(tmpdir(), 'plexus-newcomer-'))
  const running: ChildProcess[] = []
  const end = async (child: ChildProcess) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill()
    await once(child, 'close')
  }
  try {
    const machines = {
      server: await lab.side('server', 'port-restricted'),
      laptop: await lab.side('laptop', 'port-restricted'),
    }
    // the laboratory has no public servers: what is typed stays the same
    const flags = [`--dht-bootstrap=${rig.bootstrap}`, `--stun-server=${rig.stunServer}`]
    await writeFile(join(directory, 'plexus'), plexusScript(flags), { mode: 0o755 })
    installedPackage(directory)
    for (const name of ['server', 'laptop']) await mkdir(join(directory, name))
    const type = ({ where, line }: ReadmeCommand): ChildProcess => {
      const machine: Machine = machines[where as keyof typeof machines]
      const env = {
        ...process.env,
        PATH: `${directory}:${process.env.PATH}`,
        PLEXUS_OPT_APP_REPO: join(directory, where, 'repository'),
        XDG_STATE_HOME: join(directory, where, 'state'),
      }
      const child = machine.spawn('sh', ['-c', `exec ${line}`], {
        cwd: join(directory, where),
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      running.push(child)
      return child
    }

    const pairing = typed.filter(({ line }) => /^plexus --/.test(line))
    for (const command of typed) {
      if (pairing.includes(command)) continue
      const [code] = await once(type({ ...command, line: confirmed(command, directory) }), 'close')
      assert.equal(code, 0, command.line)
    }
    const [exporting, importing, accepting, inviting] = pairing
    assert.ok(exporting && importing && accepting && inviting)

    const { laptop, server } = machines
    // what answers at port 22 of the server
    const greeting = server.spawn('node', ['-e', SSHD], { stdio: ['ignore', 'pipe', 'inherit'] })
    running.push(greeting)
    await said(greeting, /listening/)
    const sharing = [type(exporting)]
    await said(sharing[0] as ChildProcess, /ready for invites/)
    sharing.push(type(importing))
    await said(sharing[1] as ChildProcess, /ready: ssh -p 2222 127\.0\.0\.1/)
    const { stdout } = await laptop.exec('node', ['-e', CLIENT])
    assert.match(stdout, /^SSH-2\.0-greeting/)
    for (const child of sharing.reverse()) await end(child)

    await said(type(accepting), /ready for invites/)
    await said(type(inviting), /the command runs/)
    await until(async () => (await laptop.exec('ping', ['-c', '1', '-W', '1', '10.77.0.1'])).status === 0)
    const back = await server.exec('ping', ['-c', '1', '-W', '1', '10.77.0.2'])
    assert.equal(back.status, 0, back.stdout)
  } finally {
    for (const child of running.reverse()) await end(child)
    await rm(directory, { recursive: true, force: true })
    await rig.close()
    await lab.close()
  }
})

const SSHD = `require('net').createServer((socket) => socket.end('SSH-2.0-greeting')).listen(22, '127.0.0.1', () => console.log('listening'))`
const CLIENT = `require('net').connect(2222, '127.0.0.1').pipe(process.stdout)`

/** Resolves when a process has written a line that matches; rejects when it ends, or time runs out, before. */
function said(child: ChildProcess, pattern: RegExp): Promise<void> {
  const heard: string[] = []
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${why}:\n${heard.join('\n')}`))
    const limit = patience()
    limit.addEventListener('abort', () => fail('it did not happen'), { once: true })
    for (const input of [child.stdout, child.stderr]) {
      if (!input) continue
      createInterface({ input }).on('line', (line) => {
        heard.push(line)
        if (pattern.test(line)) resolve()
      })
    }
    child.once('close', () => fail('it ended too early'))
  })
}
