import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDhtNode } from '../../rendezvous/dht/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent, UdpPort } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'

const PROGRAM = fileURLToPath(new URL('../../bin/cli/main.js', import.meta.url))
const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const CAROL = 'carol@px.test/phone'

interface Found {
  readonly state: string
  readonly what: string
  readonly sentence: string
  readonly advice?: string
  readonly code?: string
}

interface Report {
  readonly exit: number | null
  readonly findings: readonly Found[]
}

/** A UDP port at which nobody answers. */
async function deadEndpoint(): Promise<string> {
  const port = UdpPort.open({ address: '127.0.0.1' })
  const local = port.local(4)
  await port.close()
  assert.ok(local)
  return formatEndpoint(local)
}

describe('plexus check', () => {
  let directory: string
  let stun: StunServer
  let good: Record<string, string>

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plexus-check-'))
    stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    for (const name of [ALICE, BOB, CAROL]) {
      const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
      await createIdentity(join(directory, 'repo'), parseIdentity(name), options)
    }
    const [server] = stun.endpoints
    assert.ok(server)
    good = {
      'app-repo': join(directory, 'repo'),
      'host-info': ALICE,
      'peer-info': BOB,
      'stun-server': formatEndpoint(server),
      rendezvous: `dir:${join(directory, 'meet')}`,
      'state-dir': join(directory, 'state'),
      'exec-command': '/bin/true',
    }
  })
  after(async () => {
    await stun.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function run(
    changes: Record<string, string | undefined>,
    more: readonly string[] = ['--json'],
    under: readonly string[] = [],
  ) {
    const flags = Object.entries({ ...good, ...changes }).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name}=${value}`],
    )
    const [first = '', ...words] = [...under, process.execPath, PROGRAM, 'check', ...flags, ...more]
    const child = spawn(first, words, {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [output, [exit]] = await Promise.all([text(child.stdout), once(child, 'close')])
    return { output, exit: exit as number | null }
  }

  async function check(changes: Record<string, string | undefined> = {}): Promise<Report> {
    const { output, exit } = await run(changes)
    const report = JSON.parse(output) as { exit: number; findings: Found[] }
    assert.equal(report.exit, exit)
    return { exit, findings: report.findings }
  }

  /** The one finding that is not well. */
  function only({ findings }: Report): Found {
    const wrong = findings.filter(({ state }) => state !== 'ok')
    const [first, ...others] = wrong
    assert.ok(first, 'something was found')
    assert.deepEqual(others, [])
    return first
  }

  /** A plant is found alone, under its code, with a remedy that names what to change. */
  async function finds(
    changes: Record<string, string | undefined>,
    exit: number,
    code: string,
    advice: RegExp,
  ): Promise<Found> {
    const report = await check(changes)
    const finding = only(report)
    assert.equal(finding.state, 'FAIL')
    assert.equal(finding.code, code)
    assert.match(finding.advice ?? '', advice)
    assert.equal(report.exit, exit)
    return finding
  }

  /** A repository with one identity of its own, spoilt. */
  async function spoilt(name: string, spoil: (folder: string) => Promise<void>): Promise<string> {
    const repository = join(directory, name)
    for (const identity of [ALICE, BOB]) {
      const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
      await createIdentity(repository, parseIdentity(identity), options)
    }
    await spoil(join(repository, ALICE))
    return repository
  }

  test('finds nothing wrong where nothing is', async () => {
    const { exit, findings } = await check()
    assert.equal(exit, 0)
    assert.deepEqual(
      findings.filter(({ state }) => state !== 'ok'),
      [],
    )
    const seen = new Set(findings.map(({ what }) => what))
    for (const what of ['repository', 'key', 'identity', 'peer', 'state', 'command', 'STUN']) {
      assert.ok(seen.has(what), what)
    }
    assert.match(findings.find(({ what }) => what === 'rendezvous')?.sentence ?? '', /carried a message/)
  })

  test('tells a person one line a finding, with the remedy and the code', async () => {
    const { output, exit } = await run({ 'exec-command': join(directory, 'no-such') }, [])
    assert.equal(exit, 2)
    assert.match(output, /^ok {4}repository/m)
    assert.match(
      output,
      /^FAIL {2}command .*cannot be run \(ENOENT\)\. Give --exec-command .*\[COMMAND_MISSING\]$/m,
    )
  })

  test('tells what there is for peers, and warns where that is little', async () => {
    const plenty = (await check()).findings.find(({ what }) => what === 'limits')
    assert.match(plenty?.sentence ?? '', /^For all peers together: \d+ tunnels, \d+ files and sockets, /)
    const { output, exit } = await run({}, [], ['sh', '-c', 'ulimit -n 200; exec "$@"', 'sh'])
    assert.equal(exit, 0)
    assert.match(
      output,
      /^warn {2}limits .* may open 200 files and sockets, 147 of them for peers\. .*LimitNOFILE/m,
    )
  })

  test('finds a repository that is not there', async () => {
    await finds({ 'app-repo': join(directory, 'none') }, 2, 'REPOSITORY', /--app-repo/)
  })

  test('finds a private key that others can read', async () => {
    const repository = await spoilt('open', (folder) => chmod(join(folder, 'private.key'), 0o644))
    await finds({ 'app-repo': repository }, 2, 'KEY_READABLE', /chmod 600/)
  })

  test('finds a private key of another certificate', async () => {
    const other = join(directory, 'repo', CAROL, 'private.key')
    const repository = await spoilt('foreign', (folder) => copyFile(other, join(folder, 'private.key')))
    await finds({ 'app-repo': repository }, 2, 'KEY_INVALID', /matching certificate/)
  })

  test('finds that there is no private key', async () => {
    const repository = await spoilt('keyless', (folder) => rm(join(folder, 'private.key')))
    await finds({ 'app-repo': repository }, 2, 'KEY_MISSING', /plexus id new/)
  })

  test('finds a certificate that is none', async () => {
    const repository = await spoilt('malformed', (folder) => writeFile(join(folder, 'cert.crt'), 'no PEM'))
    await finds({ 'app-repo': repository }, 2, 'CERTIFICATE_INVALID', /PEM/)
  })

  test('finds a peer that is not in the repository', async () => {
    await finds({ 'peer-info': 'dave@px.test/box' }, 2, 'IDENTITY_MISSING', /cert\.crt/)
  })

  test('finds a STUN server that does not answer', async () => {
    await finds({ 'stun-server': await deadEndpoint() }, 1, 'STUN_UNREACHABLE', /--stun-server/)
  })

  test('finds a DHT bootstrap that does not answer', async () => {
    const bootstrap = { rendezvous: 'dht:', 'dht-bootstrap': await deadEndpoint() }
    const { sentence } = await finds(bootstrap, 1, 'RENDEZVOUS_UNREACHABLE', /network/)
    assert.match(sentence, /No bootstrap node of the DHT answers/)
  })

  test('finds a DHT bootstrap of another network', async () => {
    const node = createSocket('udp4')
    // an error reply of OpenDHT: a map in msgpack
    node.on('message', (_data, from) =>
      node.send(Buffer.from('82a165a0a179a165', 'hex'), from.port, from.address),
    )
    node.bind(0, '127.0.0.1')
    await once(node, 'listening')
    try {
      const changes = { rendezvous: 'dht:', 'dht-bootstrap': `127.0.0.1:${node.address().port}` }
      const { sentence } = await finds(changes, 2, 'RENDEZVOUS_FOREIGN', /--dht-bootstrap/)
      assert.match(sentence, /OpenDHT/)
    } finally {
      node.close()
    }
  })

  test('finds a command that is not there', async () => {
    await finds({ 'exec-command': '/no/such/command' }, 2, 'COMMAND_MISSING', /--exec-command/)
  })

  test('finds an unknown wildcard', async () => {
    await finds({ 'exec-args': 'on %inerip%' }, 2, 'BAD_EXEC_ARGS', /%innerip%/)
  })

  test('finds an import whose port is taken, a service that is down and a peer that is not there', async () => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    try {
      const accepting = { 'peer-info': undefined, 'exec-command': undefined }
      const { exit, findings } = await check({
        ...accepting,
        import: `taken=${port},peer=phone`,
        export: `down=${(await deadEndpoint()).split(':')[1]},peer=nowhere`,
      })
      const services = findings.filter(({ what }) => what === 'services')
      assert.equal(exit, 2)
      assert.deepEqual(
        services.map(({ state, code }) => [state, code]),
        [
          ['FAIL', 'ADDRESS_IN_USE'],
          ['warn', undefined],
        ],
      )
      const down = await check({ ...accepting, export: `down=${(await deadEndpoint()).split(':')[1]}` })
      const warning = down.findings.find(({ what }) => what === 'services')
      assert.match(warning?.sentence ?? '', /Nothing answers at the export 'down'/)
      assert.equal(down.exit, 0)
    } finally {
      server.close()
    }
  })

  test('finds a working directory that is not there', async () => {
    await finds({ 'exec-pwd': join(directory, 'nowhere') }, 2, 'EXEC_PWD', /--exec-pwd/)
  })

  test('finds a state directory that cannot be written', async () => {
    const file = join(directory, 'file')
    await writeFile(file, '')
    await finds({ 'state-dir': join(file, 'state') }, 2, 'STATE_DIRECTORY', /--state-dir/)
  })

  test('finds a meeting directory that cannot be used', async () => {
    const file = join(directory, 'plain')
    await writeFile(file, '')
    await finds({ rendezvous: `dir:${file}` }, 2, 'BAD_RENDEZVOUS', /directory/)
  })

  test('finds every fault in one run, each once', async () => {
    const report = await check({
      'app-repo': join(directory, 'none'),
      'stun-server': await deadEndpoint(),
      'exec-command': '/no/such/command',
    })
    assert.deepEqual(
      report.findings.filter(({ state }) => state === 'FAIL').map(({ code }) => code),
      ['REPOSITORY', 'COMMAND_MISSING', 'STUN_UNREACHABLE'],
    )
    assert.equal(report.exit, 2)
  })

  test('finds a repository that others may write, as the start refuses it', async () => {
    const loose = await spoilt('loose', async () => {})
    await chmod(loose, 0o777)
    const { exit, findings } = await check({ 'app-repo': loose })
    const wrong = findings.filter(({ state }) => state !== 'ok')
    assert.equal(exit, 2)
    assert.ok(wrong.length > 0)
    for (const { state, code, advice } of wrong) {
      assert.deepEqual([state, code], ['FAIL', 'REPOSITORY_WRITABLE'])
      assert.match(advice ?? '', /chmod o-w/)
    }
  })

  test('warns of one STUN server of two', async () => {
    const half = await check({ 'stun-server': `${good['stun-server']},${await deadEndpoint()}` })
    assert.equal(half.exit, 0)
    assert.equal(only(half).state, 'warn')
  })

  test('carries a message through a DHT that is well', async () => {
    const port = Number((await deadEndpoint()).split(':')[1])
    const node = await openDhtNode({ listen: { address: '127.0.0.1', port }, bootstrap: [], log: silent })
    try {
      const report = await check({ rendezvous: 'dht:', 'dht-bootstrap': `127.0.0.1:${port}` })
      assert.equal(report.exit, 0, JSON.stringify(report.findings))
    } finally {
      await node.close()
    }
  })

  test('takes no message from a mailbox that somebody else waits at', async () => {
    const meet = join(directory, 'busy')
    await mkdir(meet)
    const name = `${'a'.repeat(32)}-9999999999999-${'b'.repeat(16)}.plexus`
    await writeFile(join(meet, name), 'a message')
    await check({ rendezvous: `dir:${meet}` })
    assert.deepEqual(await readdir(meet), [name])
  })
})
