import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { formatEndpoint, silent, UdpPort } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { plexus } from '../support/cli.js'

describe('plexus nat', () => {
  let directory: string
  let server: StunServer
  let full: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plexus-nat-cli-'))
    server = await StunServer.open({
      listen: { address: '127.0.0.1', port: 0 },
      alternate: { address: '127.0.0.2', port: 0 },
      log: silent,
    })
    const [first] = server.endpoints
    assert.ok(first)
    full = formatEndpoint(first)
  })
  after(async () => {
    await server?.close()
    await rm(directory, { recursive: true, force: true })
  })

  const run = (...more: string[]) => plexus(['nat', `--state-dir=${directory}`, '--no-port-mapping', ...more])

  test('tells a person that nothing is in the way, and ends with 0', async () => {
    const { code, stdout, stderr } = await run(`--stun-server=${full}`)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^NAT +none: a public address that everybody can reach$/m)
    assert.match(stdout, /symmetric NAT with random ports +directly, if the peer sends first/)
    assert.doesNotMatch(stdout, /evidence|what would help/)
    assert.equal(stderr, '')
  })

  test('shows the evidence when it is asked for', async () => {
    const { stdout } = await run(`--stun-server=${full}`, '-v')
    assert.match(
      stdout,
      /^ {2}IPv4 .*filtering, port \d+, asked .*answer wanted from another address: seen as/m,
    )
  })

  test('prints all of it as JSON for a script', async () => {
    const { code, stdout } = await run(`--stun-server=${full}`, '--json')
    const report = JSON.parse(stdout) as Record<string, unknown>
    assert.equal(code, 0)
    assert.equal(report.ok, true)
    assert.equal(report.kind, 'open')
    assert.equal((report.ipv4 as { filtering: string }).filtering, 'endpoint-independent')
    assert.equal((report.reach as unknown[]).length, 5)
  })

  test('remembers it for pairings, in a folder that nobody else reads', async () => {
    const [folder = ''] = await readdir(directory)
    assert.deepEqual(await readdir(join(directory, folder)), ['behaviour'])
  })

  test('a host that is up without a STUN server is no sign that UDP is blocked', async () => {
    // nobody listens; somebody listens for TCP alone; somebody listens for UDP and never answers
    const port = UdpPort.open({ address: '127.0.0.1' })
    const mute = formatEndpoint(port.local(4) ?? { address: '127.0.0.1', port: 9 })
    const other = UdpPort.open({ address: '127.0.0.2' })
    const alsoMute = formatEndpoint(other.local(4) ?? { address: '127.0.0.2', port: 9 })
    const web = createServer().listen(0, '127.0.0.1')
    await once(web, 'listening')
    const gone = UdpPort.open({ address: '127.0.0.1' })
    const dead = formatEndpoint(gone.local(4) ?? { address: '127.0.0.1', port: 9 })
    await gone.close()
    const tcpAlone = `127.0.0.1:${(web.address() as AddressInfo).port}`
    try {
      for (const [servers, udp] of [
        [[dead], 'refused'],
        [[tcpAlone], 'refused'],
        [[mute], 'unanswered'],
        [[mute, dead], 'refused'],
        [[mute, alsoMute], 'unanswered'],
      ] as const) {
        const flags = servers.map((each) => `--stun-server=${each}`)
        const { code, stdout } = await run(...flags)
        assert.equal(code, 1)
        assert.match(stdout, /^NAT +unknown: no STUN server answered$/m)
        assert.match(stdout, /^UDP +unknown: /m)
        assert.doesNotMatch(stdout, /blocked: |is blocked,|Allow outgoing UDP/)
        assert.match(stdout, new RegExp(`^ {2}${servers[0]}: no answer to \\d requests`, 'm'))
        assert.doesNotMatch(stdout, /peers that can be reached/)
        const json = JSON.parse((await run(...flags, '--json')).stdout) as { udp: string; ok: boolean }
        assert.equal(json.udp, udp)
        assert.equal(json.ok, false)
      }
    } finally {
      web.close()
      await Promise.all([port.close(), other.close()])
    }
  })

  test('a server without a way to answer from elsewhere leaves something unknown, and that is said', async () => {
    const plain = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    try {
      const [endpoint] = plain.endpoints
      assert.ok(endpoint)
      const { code, stdout } = await run(`--stun-server=${formatEndpoint(endpoint)}`)
      assert.equal(code, 0)
      assert.match(stdout, /^what could not be determined\n {2}filtering \(IPv4\): no server .*RFC 5780/m)
    } finally {
      await plain.close()
    }
  })

  test('a flag that it has no use for, and a server that can be none, are mistakes', async () => {
    assert.equal((await run('--accept')).code, 2)
    assert.equal((await run('--stun-server=nowhere:0')).code, 2)
    assert.equal((await run('--stun-client=192.0.2.1')).code, 2)
  })
})
