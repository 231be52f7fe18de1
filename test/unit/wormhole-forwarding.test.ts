import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { systemClock } from '../../src/cli/clock.js'
import { PlexusError } from '../../src/errors/index.js'
import { encodeHeader } from '../../src/wormhole/header.js'
import { Forwarding, parseService, parseShare, type Service } from '../../src/wormhole/index.js'
import { MemoryLog } from '../support/log.js'
import { type MemoryTunnel, tunnelPair } from '../support/tunnel-pair.js'

const LAPTOP = 'alice@example.com/laptop'
const SERVER = 'bob@example.com/server'

/** All that a socket says until its end; the other direction goes on. */
async function text(socket: Socket): Promise<string> {
  const heard: Buffer[] = []
  socket.on('data', (data) => heard.push(data))
  await once(socket, 'end')
  return Buffer.concat(heard).toString()
}

describe('forwarding', () => {
  const directory = mkdtempSync(join(tmpdir(), 'plexus-forwarding-'))
  const ends: (() => Promise<unknown> | undefined)[] = []
  const servers: Server[] = []
  let echo: Service
  let echoAt = ''

  const serve = async (handler: (socket: Socket) => void, path?: string): Promise<Service> => {
    const server = createServer({ allowHalfOpen: true }, handler)
    servers.push(server)
    server.listen(path === undefined ? { host: '127.0.0.1', port: 0 } : { path })
    await once(server, 'listening')
    const at = server.address()
    return parseService(typeof at === 'string' ? `unix:${at}` : `127.0.0.1:${at?.port}`)
  }

  before(async () => {
    echo = await serve((socket) => socket.on('error', () => {}).pipe(socket))
    echoAt = echo.kind === 'tcp' ? `${echo.host}:${echo.port}` : ''
  })
  afterEach(async () => {
    await Promise.all(ends.splice(0).map((end) => end()))
  })
  after(async () => {
    for (const server of servers) server.close()
    rmSync(directory, { recursive: true, force: true })
  })

  /** Both sides of a tunnel: what the one exports, and what the other imports. */
  const sides = async (exports: readonly string[], imports: readonly string[], wait = 20_000) => {
    const log = { exporter: new MemoryLog(), importer: new MemoryLog() }
    const exporter = await Forwarding.open(
      { exports: exports.map(parseShare), imports: [], wait },
      { clock: systemClock, log: log.exporter },
    )
    const importer = await Forwarding.open(
      { exports: [], imports: imports.map((one) => ({ ...parseShare(one), peer: SERVER })), wait },
      { clock: systemClock, log: log.importer },
    )
    ends.push(
      () => exporter.close(),
      () => importer.close(),
    )
    const link = (): [MemoryTunnel, MemoryTunnel] => {
      const [near, far] = tunnelPair()
      void exporter.carry(LAPTOP, far)
      void importer.carry(SERVER, near)
      return [near, far]
    }
    const dial = (index = 0, options: object = {}): Socket => {
      const at = importer.listening[index]
      assert.ok(at)
      const socket = connect(
        at.kind === 'unix' ? { path: at.path } : { host: at.host, port: at.port, ...options },
      )
      ends.push(async () => socket.destroy())
      return socket
    }
    return { exporter, importer, log, link, dial }
  }

  /** How a connection that was expected to fail did so. */
  const failure = async (socket: Socket): Promise<string> => {
    const [error] = await once(socket.resume(), 'error')
    return String((error as { code?: unknown }).code)
  }

  test('carries what is said in both directions, and the end of each by itself', async () => {
    const { link, dial } = await sides([`echo=${echoAt}`], ['echo=0'])
    link()
    const socket = dial()
    socket.end('x'.repeat(1_000_000))
    assert.equal((await text(socket)).length, 1_000_000)
  })

  test('passes on the end of the service before that of the client', async () => {
    const said: Promise<string>[] = []
    const service = await serve((socket) => {
      socket.end('bye')
      said.push(text(socket))
    })
    const { link, dial } = await sides([`s=${service.kind === 'tcp' ? service.port : 0}`], ['s=0'])
    link()
    const socket = dial(0, { allowHalfOpen: true })
    assert.equal(await text(socket), 'bye')
    socket.end('still here')
    assert.equal(await said[0], 'still here')
  })

  test('leads through unix sockets on both sides, the local one for its owner alone', async () => {
    await serve((socket) => socket.pipe(socket), join(directory, 'service'))
    const local = join(directory, 'local')
    const { link, dial } = await sides([`s=unix:${join(directory, 'service')}`], [`s=unix:${local}`])
    assert.equal(statSync(local).mode & 0o777, 0o600)
    link()
    const socket = dial()
    socket.end('over unix')
    assert.equal(await text(socket), 'over unix')
  })

  test('a service that refuses is a reset at once, with the reason in both logs', async () => {
    const closed = await serve(() => {})
    servers.pop()?.close()
    const { link, dial, log } = await sides([`s=${closed.kind === 'tcp' ? closed.port : 0}`], ['s=0'])
    link()
    assert.equal(await failure(dial()), 'ECONNRESET')
    await log.importer.until(/warn .*'s': It refused the connection \(ECONNREFUSED\)\. \[SERVICE_REFUSED\]/)
    await log.exporter.until(/warn 's' \(127\.0\.0\.1:\d+\): It refused/)
    assert.equal(log.importer.count(/127\.0\.0\.1:\d+.*refused/), 0, 'addresses behind an export stay there')
  })

  test('once the tunnel is up it is said how each import is used, and which the peer does not export', async () => {
    const { link, log } = await sides(
      [`ssh=${echoAt}`, `web=${echoAt}`, `mine=${echoAt}`, `hidden=${echoAt},peer=eve@example.com/x`],
      ['ssh=0', 'web=0', 'mine=0', 'hidden=0', 'shh=0'],
    )
    link()
    await log.importer.until(/^info ready: mine at 127\.0\.0\.1:\d+ {}$/)
    assert.equal(log.importer.count(/^info ready: ssh -p \d+ 127\.0\.0\.1 {}$/), 1)
    assert.equal(log.importer.count(/^info ready: http:\/\/127\.0\.0\.1:\d+\/ {}$/), 1)
    for (const name of ['hidden', 'shh']) {
      const warning = new RegExp(
        `^warn bob@example.com/server does not export '${name}': it exports ssh, web, mine {}$`,
      )
      assert.equal(log.importer.count(warning), 1)
    }
    assert.equal(log.importer.count(/^info ready/), 3)
  })

  test('a peer that exports nothing to this side says so at once', async () => {
    const { link, log } = await sides([`ssh=${echoAt},peer=eve@example.com/x`], ['ssh=0'])
    link()
    await log.importer.until(
      /^warn bob@example\.com\/server does not export 'ssh': it exports nothing to this side {}$/,
    )
  })

  test('a number finds the only service at that port, whatever its name', async () => {
    const port = echo.kind === 'tcp' ? echo.port : 0
    const { link, dial, log } = await sides([`ssh=${echoAt}`], [`${port}=0`])
    link()
    const socket = dial()
    socket.end('hello')
    assert.equal(await text(socket), 'hello')
    assert.equal(log.importer.count(/does not export/), 0)
  })

  test('a service that does not exist, and one that is for another peer, look alike', async () => {
    const { link, dial, log } = await sides(
      [`hidden=${echoAt},peer=eve@example.com/x`, `shown=${echoAt}`],
      ['hidden=0', 'nothing=0', 'shown=0'],
    )
    link()
    for (const index of [0, 1]) assert.equal(await failure(dial(index)), 'ECONNRESET')
    await log.importer.until(/\[SERVICE_UNKNOWN\]/, 2)
    const [one, other] = log.importer.lines.filter((line) => line.includes('[SERVICE_UNKNOWN]'))
    assert.equal(one?.replace('hidden', ''), other?.replace('nothing', ''))
    const socket = dial(2)
    socket.end('hello')
    assert.equal(await text(socket), 'hello')
  })

  test('a reset of the client reaches the service, and one of the service the client', async () => {
    const taken: Socket[] = []
    const service = await serve((socket) => {
      socket.write('hello')
      taken.push(socket)
    })
    const { link, dial } = await sides([`s=${service.kind === 'tcp' ? service.port : 0}`], ['s=0'])
    link()
    const client = dial()
    await once(client, 'data')
    const [end] = taken
    assert.ok(end)
    const cut = failure(end)
    client.resetAndDestroy()
    assert.equal(await cut, 'ECONNRESET')
    const second = dial()
    await once(second, 'data')
    const cutHere = failure(second)
    taken[1]?.resetAndDestroy()
    assert.equal(await cutHere, 'ECONNRESET')
  })

  test('a connection waits for a tunnel, and is reset when none comes', async () => {
    const waiting = await sides([`s=${echoAt}`], ['s=0'])
    const socket = waiting.dial()
    socket.end('early')
    await once(socket, 'connect')
    waiting.link()
    assert.equal(await text(socket), 'early')
    const vain = await sides([`s=${echoAt}`], ['s=0'], 1)
    assert.equal(await failure(vain.dial()), 'ECONNRESET')
    await vain.log.importer.until(/There was no tunnel for 0 s\. \[TUNNEL_LOST\]/)
  })

  test('a tunnel that is lost cuts off what it carried, and the next one carries what comes', async () => {
    const { link, dial, log } = await sides([`s=${echoAt}`], ['s=0'])
    const [near, far] = link()
    const socket = dial()
    socket.write('hello')
    await once(socket, 'data')
    const cut = failure(socket)
    near.break()
    far.break()
    assert.equal(await cut, 'ECONNRESET')
    await log.exporter.until(/warn tunnel with alice@example.com\/laptop lost/)
    link()
    const next = dial()
    next.end('again')
    assert.equal(await text(next), 'again')
  })

  test('a tunnel that did not come about is a warning, unless this side ended it', async () => {
    const { importer, log } = await sides([], ['s=0'])
    const fruitless = async (kind: 'dead' | 'closed') => {
      const [near] = tunnelPair()
      near.break({ kind })
      const ready = Promise.reject(new PlexusError('TUNNEL_LOST', 'There is none.'))
      return await importer.carry(SERVER, Object.assign(near, { ready }))
    }
    assert.equal((await fruitless('closed')).kind, 'silent')
    assert.equal(log.importer.count(/^warn/), 0)
    assert.equal((await fruitless('dead')).kind, 'silent')
    assert.equal(log.importer.count(/^warn no tunnel with \S+: There is none\./), 1)
  })

  test('datagrams stay datagrams, and each local source has its own answers', async () => {
    const service = createSocket('udp4')
    service.on('message', (data, from) => {
      service.send(`${from.port}:${data}`, from.port, from.address)
    })
    service.bind(0, '127.0.0.1')
    await once(service, 'listening')
    const { link, importer, log } = await sides([`s=udp:${service.address().port}`], ['s=udp:0'])
    const at = importer.listening[0]
    assert.ok(at?.kind === 'udp')
    const sources = [createSocket('udp4'), createSocket('udp4')]
    ends.push(async () => {
      for (const socket of [service, ...sources]) socket.close()
    })
    link()
    await log.importer.until(/tunnel up/)
    const answers = await Promise.all(
      sources.map(async (socket, index) => {
        socket.send(`question ${index}`, at.port, at.host)
        const [data] = await once(socket, 'message')
        return String(data)
      }),
    )
    for (const [index, answer] of answers.entries())
      assert.match(answer, new RegExp(`^\\d+:question ${index}$`))
    assert.equal(new Set(answers.map((answer) => answer.split(':')[0])).size, 2)
  })

  test('a datagram that comes while its tunnel ends is lost, and nothing else', async () => {
    const service = createSocket('udp4')
    service.on('message', (data, from) => service.send(data, from.port, from.address))
    service.bind(0, '127.0.0.1')
    await once(service, 'listening')
    const { link, importer, exporter, log } = await sides([`s=udp:${service.address().port}`], ['s=udp:0'])
    const at = importer.listening[0]
    assert.ok(at?.kind === 'udp')
    const source = createSocket('udp4')
    ends.push(async () => {
      for (const socket of [service, source]) socket.close()
    })
    const [near, far] = link()
    await log.importer.until(/tunnel up/)
    const { openFlow } = near
    const tried = new Promise<void>((resolve) => {
      near.openFlow = () => {
        resolve()
        throw new PlexusError('TUNNEL_LOST', 'The tunnel is over.')
      }
    })
    source.send('lost', at.port, at.host)
    await tried
    near.openFlow = openFlow
    source.send('heard', at.port, at.host)
    assert.equal(String((await once(source, 'message'))[0]), 'heard')
    const flows = [...near.flows, ...far.flows]
    assert.equal(flows.length, 2)
    await Promise.all([importer.close(), exporter.close()])
    for (const flow of flows) flow.onmessage?.(Buffer.from('late'))
  })

  test('names that a peer makes up are told once', async () => {
    const { link, log } = await sides([`s=${echoAt}`], [])
    const [near] = link()
    await log.exporter.until(/tunnel up/)
    for (let count = 0; count < 20; count++) {
      near.open(encodeHeader({ carries: 'stream', name: `x${count}` })).on('error', () => {})
      near.openFlow(encodeHeader({ carries: 'datagrams', name: `x${count}` }))
    }
    await log.exporter.until(/'x19' (is|are) refused/, 2)
    assert.equal(log.exporter.count(/warn .*a connection to 'x/), 1)
    assert.equal(log.exporter.count(/warn .*datagrams to 'x/), 1)
  })

  test('a kind that differs between the sides is told', async () => {
    const { link, dial, log } = await sides(['s=udp:9'], ['s=0'])
    link()
    assert.equal(await failure(dial()), 'ECONNRESET')
    await log.importer.until(/one side has it as udp:.*\[SERVICE_UNKNOWN\]/)
  })

  test('a port that is taken is found at the start, and nothing stays open', async () => {
    await assert.rejects(sides([], ['one=0', `two=${echoAt}`]), { code: 'ADDRESS_IN_USE' })
  })

  test('a socket that a killed program left behind is not in the way, one that is used is', async () => {
    const path = join(directory, 'stale')
    const { spawnSync } = await import('node:child_process')
    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script])
    assert.ok(statSync(path).isSocket())
    await sides([], [`s=unix:${path}`])
    await assert.rejects(sides([], [`s=unix:${path}`]), { code: 'ADDRESS_IN_USE' })
  })

  test('a slow reader holds up its own connection alone', async () => {
    const { link, dial } = await sides([`s=${echoAt}`], ['s=0'])
    link()
    const slow = dial()
    slow.write(Buffer.alloc(20_000_000))
    const other = dial()
    other.end('quick')
    assert.equal(await text(other), 'quick')
  })

  test('says how it stands, and how it was', async () => {
    const { link, dial, importer } = await sides([`s=${echoAt}`], ['s=0'])
    link()
    const socket = dial()
    socket.write('hello')
    await once(socket, 'data')
    const [first, second] = await importer.report(new AbortController().signal)
    assert.match(
      first ?? '',
      /^1 connection open, 1 since the start, 0 failed, 0 waiting for a tunnel; 1 tunnel$/,
    )
    assert.match(
      second ?? '',
      /^tunnel with bob@example\.com\/server over 192\.0\.2\.1:9, round trip 0\.5 ms: 1 stream, /,
    )
    socket.destroy()
    await importer.close()
    assert.match(importer.summary(), /^forwarded 1 connection, 0 B in and 0 B out, through \d tunnels?$/)
  })
})

describe('a service on the command line', () => {
  const shares: [string, string][] = [
    ['22', '22 tcp 127.0.0.1 22'],
    ['ssh=22', 'ssh tcp 127.0.0.1 22'],
    ['ssh=[::1]:22', 'ssh tcp ::1 22'],
    ['web=www.example.com:80', 'web tcp www.example.com 80'],
    ['udp:53', '53 udp 127.0.0.1 53'],
    ['dns=udp:192.0.2.1:53', 'dns udp 192.0.2.1 53'],
    ['unix:/run/a=b.sock', 'a=b.sock'],
    ['db=unix:/run/db.sock', 'db unix /run/db.sock'],
  ]
  for (const [text, expected] of shares) {
    test(text, () => {
      if (!expected.includes(' ')) return assert.throws(() => parseShare(text), { code: 'BAD_ENDPOINT' })
      const { name, service } = parseShare(text)
      assert.equal([name, ...Object.values(service)].join(' '), expected)
    })
  }

  test('is for those that it names', () => {
    assert.deepEqual(parseShare('ssh=22,peer=alice,peer=bob/x').peers, ['alice', 'bob/x'])
  })

  for (const wrong of [
    '',
    'ssh',
    'ssh=',
    '=22',
    'ssh=22=23',
    '70000',
    'a b=22',
    'ssh=22,peer=',
    'ssh=22,user=x',
    'unix:relative',
    'unix:',
    'x=unix:/',
    `unix:/${'x'.repeat(107)}`,
    'udp:',
    'udp:host',
    'host:',
    '::1:22:',
    `${'n'.repeat(65)}=22`,
  ]) {
    test(`'${wrong.slice(0, 30)}' is refused`, () => {
      assert.throws(() => parseShare(wrong), { code: 'BAD_ENDPOINT' })
    })
  }
})
