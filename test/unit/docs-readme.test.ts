import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { openDhtNode } from '../../rendezvous/dht/index.js'
import { formatEndpoint, silent, UdpPort } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { plexusScript, ROOT, readmeCommands } from '../support/readme.js'

/** The longest line that a terminal or a page shows whole. */
const LINE = 100
const MOST_COMMANDS = 10
/** How long a command may take, in ms: far more than it does. */
const PATIENCE = 60_000

const COMMANDS = readmeCommands()
const MACHINES = ['server', 'laptop'] as const

describe('the commands of the README', () => {
  let directory: string
  let flags: string[]
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
    flags = [`--dht-bootstrap=${formatEndpoint(listen)}`, `--stun-server=${formatEndpoint(stunAt)}`]
    writeFileSync(join(directory, 'plexus'), plexusScript(flags), { mode: 0o755 })
    for (const machine of MACHINES) {
      mkdirSync(join(directory, machine))
      symlinkSync(join(ROOT, 'hooks'), join(directory, machine, 'hooks'))
    }
  })
  after(async () => {
    for (const close of closing.reverse()) await close()
  })

  const home = (machine: string) => ({
    cwd: join(directory, machine),
    env: {
      ...process.env,
      PATH: `${directory}:${process.env.PATH}`,
      XDG_STATE_HOME: join(directory, machine, 'state'),
    },
  })

  test('are few, and each fits into a line', () => {
    // whoever has two machines types the first two on each
    const own = COMMANDS.filter(({ line }) => /^npm (run ready|link)$/.test(line)).length
    const vpn = COMMANDS.filter(({ where }) => where !== 'anywhere').length
    assert.ok(vpn >= 6)
    assert.ok(2 * own + vpn <= MOST_COMMANDS, `${2 * own + vpn} commands`)
    for (const { line } of COMMANDS) assert.ok(line.length <= LINE, line)
  })

  test('of npm are scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    for (const { line } of COMMANDS) {
      const name = /^npm (?:run )?([a-z]+)$/.exec(line)?.[1]
      if (name !== undefined && name !== 'link') assert.ok(scripts[name], line)
    }
    assert.deepEqual(
      COMMANDS.filter(({ where, line }) => where === 'anywhere' && !/^npm |…/.test(line)),
      [],
      'every other command is run below',
    )
  })

  test('make identities, exchange them, and pair', async () => {
    const typed = COMMANDS.filter(({ where }) => where !== 'anywhere')
    const pairing = typed.filter(({ line }) => /^plexus --/.test(line))
    for (const { where, line } of typed) {
      if (pairing.some((one) => one.line === line)) continue
      for (const machine of MACHINES) carry(machine)
      const done = spawnSync('sh', ['-c', line], { ...home(where), encoding: 'utf8', timeout: PATIENCE })
      assert.equal(done.status, 0, `${line}\n${done.stderr}`)
    }
    assert.equal(pairing.length, 2)
    const [accepting, inviting] = pairing.map(({ where, line }) => {
      const hook = /--exec-command=(\S+)/.exec(line)?.[1] ?? ''
      accessSync(join(directory, where, hook), constants.X_OK)
      // two VPNs on one machine, as root, are not what a test should leave behind: the laboratory has them
      return { where, line: line.replace(hook, 'hooks/notify') }
    })
    assert.ok(accepting && inviting)
    const accepter = spawn('sh', ['-c', `exec ${accepting.line}`], {
      ...home(accepting.where),
      stdio: 'pipe',
    })
    try {
      await said(accepter, /ready for invites/)
      const inviter = spawn('sh', ['-c', inviting.line], { ...home(inviting.where), stdio: 'pipe' })
      const told = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'] as const) {
        inviter[name].setEncoding('utf8').on('data', (text: string) => {
          told[name] += text
        })
      }
      const [code] = await once(inviter, 'close')
      assert.equal(code, 0, told.stderr)
      assert.match(told.stdout, /^PLEXUS_ROLE=inviter$/m)
      assert.match(told.stdout, /^PLEXUS_PEER_ID=bob@example\.com\/server$/m)
    } finally {
      accepter.kill()
      await once(accepter, 'close')
    }
  })

  /** What a person does between two commands: brings a certificate to the other machine, under the owner's name. */
  function carry(machine: (typeof MACHINES)[number]): void {
    const other = machine === 'server' ? 'laptop' : 'server'
    const [owner, name] =
      machine === 'server' ? ['bob', 'bob@example.com/server'] : ['alice', 'alice@example.com/laptop']
    try {
      cpSync(join(directory, machine, 'repo', name, 'cert.crt'), join(directory, other, `${owner}.crt`))
    } catch {
      // not made yet
    }
  }
})

/** Resolves when a process has written a line that matches; rejects when it ends before. */
function said(child: ChildProcess, pattern: RegExp): Promise<void> {
  const heard: string[] = []
  return new Promise((resolve, reject) => {
    for (const input of [child.stdout, child.stderr]) {
      if (!input) continue
      createInterface({ input }).on('line', (line) => {
        heard.push(line)
        if (pattern.test(line)) resolve()
      })
    }
    child.once('close', () => reject(new Error(`it ended too early:\n${heard.join('\n')}`)))
  })
}
