import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, type TestContext, test } from 'node:test'
import { openDhtNode } from '../../rendezvous/dht/index.js'
import { formatEndpoint, silent, UdpPort } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import {
  confirmed,
  installedPackage,
  plexusScript,
  type ReadmeCommand,
  ROOT,
  readmeCommands,
} from '../support/readme.js'
import { ask, Service } from '../support/services.js'

/** The longest line that a terminal or a page shows whole. */
const LINE = 100
const MOST_COMMANDS = 10
/** How long a command may take, in ms: far more than it does. */
const PATIENCE = 60_000

const COMMANDS = readmeCommands()
const MACHINES = ['server', 'laptop'] as const

describe('the commands of the README', () => {
  let directory: string
  const closing: (() => Promise<unknown>)[] = []

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plexus-readme-'))
    closing.push(() => rm(directory, { recursive: true, force: true }))
    const port = UdpPort.open({ address: '127.0.0.1' })
    const listen = { address: '127.0.0.1', port: port.local(4)?.port ?? 0 }
    await port.close()
    const dht = await openDhtNode({ listen, bootstrap: [], log: silent })
    closing.push(() => dht.close())
    const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    closing.push(() => stun.close())
    const [stunAt] = stun.endpoints
    assert.ok(stunAt)
    const flags = [`--dht-bootstrap=${formatEndpoint(listen)}`, `--stun-server=${formatEndpoint(stunAt)}`]
    writeFileSync(join(directory, 'plexus'), plexusScript(flags), { mode: 0o755 })
    installedPackage(directory)
    for (const machine of MACHINES) mkdirSync(join(directory, machine))
  })
  after(async () => {
    for (const close of closing.reverse()) await close()
  })

  const home = (machine: string) => ({
    cwd: join(directory, machine),
    env: {
      ...process.env,
      PATH: `${directory}:${process.env.PATH}`,
      // root's would be in /etc
      PLEXUS_OPT_APP_REPO: join(directory, machine, 'repository'),
      XDG_STATE_HOME: join(directory, machine, 'state'),
    },
  })

  /** Starts what is typed, until the test is over. */
  const type = (t: TestContext, { where, line }: ReadmeCommand): ChildProcess => {
    const child = spawn('sh', ['-c', `exec ${line}`], { ...home(where), stdio: 'pipe' })
    t.after(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill()
      await once(child, 'close')
    })
    return child
  }

  const pairing = COMMANDS.filter(({ line }) => /^plexus --/.test(line))
  const [ssh, vpn] = [pairing.slice(0, 2), pairing.slice(2)]

  test('are few, and each fits into a line', () => {
    const job = COMMANDS.filter(({ where, line }) => where !== 'anywhere' && !/openvpn/.test(line))
    assert.ok(job.length >= 6 && job.length <= MOST_COMMANDS, `${job.length} commands`)
    for (const { line } of COMMANDS) assert.ok(line.length <= LINE, line)
  })

  test('of npm are scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    for (const { line } of COMMANDS) {
      const name = /^npm (?:run )?([a-z]+)$/.exec(line)?.[1]
      if (name !== undefined) assert.ok(scripts[name], line)
    }
    assert.deepEqual(
      COMMANDS.filter(({ where, line }) => where === 'anywhere' && !/^npm /.test(line)),
      [],
      'every other command is run below',
    )
  })

  test('make identities and exchange them, and a service is reached', async (t) => {
    for (const command of COMMANDS) {
      if (command.where === 'anywhere' || pairing.includes(command)) continue
      const { status, stderr } = spawnSync('sh', ['-c', confirmed(command, directory)], {
        ...home(command.where),
        encoding: 'utf8',
        timeout: PATIENCE,
      })
      assert.equal(status, 0, `${command.line}\n${stderr}`)
    }
    const service = await Service.echo()
    t.after(() => service.close())
    const [accepting, inviting] = ssh
    assert.ok(accepting && inviting)
    const at = (command: ReadmeCommand, from: string, to: string) => {
      assert.ok(command.line.includes(from), command.line)
      return { ...command, line: command.line.replace(from, to) }
    }
    await said(type(t, at(accepting, 'ssh=22', `ssh=${service.port}`)), /ready for invites/)
    // another program may be at 2222
    const [, port] = await said(
      type(t, at(inviting, 'ssh=2222', 'ssh=0')),
      /ready: ssh -p (\d+) 127\.0\.0\.1/,
    )
    assert.equal(await ask(Number(port), 'through the hole'), 'through the hole')
  })

  test('start a program on the hole', async (t) => {
    // two VPNs on one machine, as root, are not what a test should leave behind: the laboratory has them
    const [accepting, inviting] = vpn.map((command) => ({
      ...command,
      line: command.line.replace('hooks/openvpn', 'hooks/notify'),
    }))
    assert.ok(accepting && inviting)
    await said(type(t, accepting), /ready for invites/)
    await said(type(t, inviting), /^PLEXUS_PEER_ID=bob@example\.com\/server$/m)
  })
})

/** Resolves when a process has written a line that matches; rejects when it ends before. */
function said(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  const heard: string[] = []
  return new Promise((resolve, reject) => {
    for (const input of [child.stdout, child.stderr]) {
      if (!input) continue
      createInterface({ input }).on('line', (line) => {
        heard.push(line)
        const found = pattern.exec(line)
        if (found) resolve(found)
      })
    }
    child.once('close', () => reject(new Error(`it ended too early:\n${heard.join('\n')}`)))
  })
}
