import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { type HostPort, parseHostPort } from '../../src/net/index.js'
import type { Program } from '../support/program.js'
import { ask, failure, Service } from '../support/services.js'
import { LAPTOP, PHONE, SERVER, TwoPrograms } from '../support/two-programs.js'

describe('services through a pairing', () => {
  let programs: TwoPrograms
  let echo: Service
  const services: Service[] = []

  before(async () => {
    programs = await TwoPrograms.create()
    echo = await Service.echo()
  })
  afterEach(async () => {
    await programs.end()
    await Promise.all(services.splice(0).map((service) => service.close()))
  })
  after(async () => {
    await echo.close()
    await programs.close()
  })

  const serve = async (handler: Parameters<typeof Service.open>[0]): Promise<number> => {
    const service = await Service.open(handler)
    services.push(service)
    return service.port
  }

  /** Where an import listens, by its log. */
  const importedAt = async (program: Program, name: string): Promise<number> => {
    await program.said(new RegExp(`importing ${name} at`))
    return Number(new RegExp(`importing ${name} at \\S+:(\\d+)`).exec(program.stderr)?.[1])
  }

  /** The local end of a program's newest hole. */
  const punchedAt = (program: Program): HostPort => {
    const [, at = ''] = [...program.stderr.matchAll(/punched in \d+ ms: (\S+) to/g)].at(-1) ?? []
    return parseHostPort(at)
  }

  test('an import leads to the export of its name, early connections wait for the tunnel', async () => {
    const importer = programs.inviter('--import', 'echo=0')
    const early = ask(await importedAt(importer, 'echo'), 'early')
    await programs.accepter('--export', `echo=${echo.port}`, '--export', 'other=9')
    assert.equal(await early, 'early')
    const port = await importedAt(importer, 'echo')
    assert.equal(await ask(port, 'x'.repeat(3_000_000)), 'x'.repeat(3_000_000))
    const { code, stderr } = await importer.end()
    assert.equal(code, 0)
    assert.match(stderr, /forwarded 2 connections, \d.* MB in and \d.* MB out, through 1 tunnel\n$/)
  })

  test('what is refused is a reset at once, and named in the log', async () => {
    const gone = await Service.open(() => {})
    await gone.close()
    await programs.accepter('--export', `gone=${gone.port}`, '--export', `hers=${echo.port},peer=phone`)
    const importer = programs.inviter('--import', 'gone=0', '--import', 'hers=0', '--import', 'none=0')
    for (const [name, why] of [
      ['gone', 'SERVICE_REFUSED'],
      ['hers', 'SERVICE_UNKNOWN'],
      ['none', 'SERVICE_UNKNOWN'],
    ] as const) {
      assert.equal(await failure(connect(await importedAt(importer, name), '127.0.0.1')), 'ECONNRESET')
      await importer.said(new RegExp(`'${name}'.* \\[${why}\\]`))
    }
    const phone = programs.start(PHONE, [`--peer-info=${SERVER}`, '--import', 'hers=0'])
    assert.equal(await ask(await importedAt(phone, 'hers'), 'for the phone'), 'for the phone')
  })

  test('standard input and output are one connection, and the exit code says how it went', async () => {
    await programs.accepter('--export', `echo=${echo.port}`)
    const stdio = (name: string) =>
      programs.start(LAPTOP, [`--peer-info=${SERVER}`, `--stdio=${name}`], { input: 'pipe' })
    const good = stdio('echo')
    good.process.stdin?.end('over a pipe')
    assert.deepEqual(await good.ended, { code: 0, stdout: 'over a pipe', stderr: '' })
    const bad = stdio('nothing')
    bad.process.stdin?.end()
    const { code, stdout, stderr } = await bad.ended
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /^plexus: .*\[SERVICE_UNKNOWN\]\n$/)
  })

  test('an inviter can export, and an accepter import, of the peer that it names', async () => {
    const accepter = await programs.accepter('--import', 'echo=0,peer=laptop')
    programs.inviter('--export', `echo=${echo.port}`)
    assert.equal(await ask(await importedAt(accepter, 'echo'), 'called home'), 'called home')
  })

  test('kill -9 of either end: the next connection works again', async () => {
    const first = await programs.accepter('--export', `echo=${echo.port}`)
    const importer = programs.inviter('--import', 'echo=0')
    const port = await importedAt(importer, 'echo')
    assert.equal(await ask(port, 'one'), 'one')
    const open = connect(port, '127.0.0.1')
    open.write('hello')
    await once(open, 'data')
    const cut = failure(open)
    await first.end('SIGKILL')
    const second = await programs.accepter('--export', `echo=${echo.port}`)
    assert.equal(await cut, 'ECONNRESET', 'what was open is reset, and does not hang')
    assert.equal(await ask(port, 'two'), 'two')
    // and the other end, whose successor does not wait until the old tunnel is given up
    await importer.end('SIGKILL')
    const successor = programs.inviter('--import', 'echo=0')
    assert.equal(await ask(await importedAt(successor, 'echo'), 'three'), 'three')
    assert.equal(second.times(/tunnel up/), 2)
  })

  test('with --once an import ends with its tunnel, and an export too', async () => {
    const accepter = await programs.accepter('--once', '--export', `echo=${echo.port}`)
    const importer = programs.inviter('--once', '--import', 'echo=0')
    assert.equal(await ask(await importedAt(importer, 'echo'), 'once'), 'once')
    assert.equal((await importer.end()).code, 0)
    assert.equal((await accepter.ended).code, 0)
    const next = await programs.accepter('--export', `echo=${echo.port}`)
    const other = programs.inviter('--once', '--import', 'echo=0')
    await other.said(/tunnel up/)
    await next.end()
    assert.equal((await other.ended).code, 0)
  })

  test('garbage at both ports during a transfer changes nothing', async () => {
    const accepter = await programs.accepter('--export', `echo=${echo.port}`)
    const importer = programs.inviter('--import', 'echo=0')
    const port = await importedAt(importer, 'echo')
    await importer.said(/tunnel up/)
    const noise = createSocket('udp4').on('error', () => {})
    const noise6 = createSocket('udp6').on('error', () => {})
    const heard: Buffer[] = []
    for (const socket of [noise, noise6]) socket.on('message', (data) => heard.push(data))
    const targets = [punchedAt(accepter), punchedAt(importer)]
    let going = true
    const noisy = (async () => {
      for (let sent = 0; going; sent++) {
        for (const { host, port: to } of targets) {
          const data = randomBytes(1 + (sent % 1400))
          ;(host.includes(':') ? noise6 : noise).send(data, to, host)
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    const data = randomBytes(20_000_000)
    const socket = connect(port, '127.0.0.1')
    const hash = createHash('sha256')
    socket.on('data', (chunk) => hash.update(chunk))
    socket.end(data)
    await once(socket, 'end')
    going = false
    await noisy
    for (const one of [noise, noise6]) one.close()
    assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'))
    assert.deepEqual(heard, [], 'nothing is answered')
    assert.equal(importer.times(/tunnel with \S+ lost|cut off/), 0)
  })

  test('who reads nothing holds up nobody else, and fills no memory', async () => {
    const flood = await serve((socket) => {
      const block = Buffer.alloc(1 << 20)
      const pour = () => {
        while (socket.write(block));
      }
      socket.on('drain', pour)
      pour()
    })
    await programs.accepter('--export', `echo=${echo.port}`, '--export', `flood=${flood}`)
    const importer = programs.inviter('--import', 'echo=0', '--import', 'flood=0')
    const sleepers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = connect(await importedAt(importer, 'flood'), '127.0.0.1').pause()
        await once(socket, 'readable')
        return socket
      }),
    )
    const words = 'x'.repeat(5_000_000)
    assert.equal(await ask(await importedAt(importer, 'echo'), words), words)
    const resident = Number(
      /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${importer.process.pid}/status`, 'utf8'))?.[1],
    )
    assert.ok(resident < 250_000, `${resident} kB`)
    for (const socket of sleepers) socket.destroy()
  })

  test('many connections at once are all right, and leave nothing behind', async () => {
    const accepter = await programs.accepter('--export', `echo=${echo.port}`)
    const importer = programs.inviter('--import', 'echo=0')
    const port = await importedAt(importer, 'echo')
    const words = 'x'.repeat(200_000)
    await ask(port, 'warm')
    const descriptors = () =>
      [accepter, importer].map(({ process: { pid } }) => readdirSync(`/proc/${pid}/fd`).length)
    const before = descriptors()
    const crowd = await Promise.all(Array.from({ length: 100 }, () => ask(port, words)))
    assert.ok(crowd.every((answer) => answer === words))
    for (let at = 0; at < 300; at++) assert.equal(await ask(port, `short ${at}`), `short ${at}`)
    const settled = () => descriptors().every((count, index) => count <= (before[index] ?? 0))
    while (!settled()) await ask(port, 'another one')
    importer.process.kill('SIGUSR2')
    await importer.said(/connections? open, \d+ since the start, 0 failed/)
    assert.match(importer.stderr, /[01] connections? open/)
  })

  test('no more descriptors end nothing: those that are there go on, and later ones come through', async () => {
    await programs.accepter('--export', `echo=${echo.port}`)
    const importer = programs.inviter('--import', 'echo=0')
    const port = await importedAt(importer, 'echo')
    await importer.said(/tunnel up/)
    const first = connect(port, '127.0.0.1')
    first.write('here')
    await once(first, 'data')
    const { pid } = importer.process
    // what pairing held may still be closing, and the limit is on the number of a descriptor, not on how many there are
    const highest = Math.max(...readdirSync(`/proc/${pid}/fd`).map(Number))
    execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${highest + 2}:`])
    const more = Array.from({ length: highest + 2 }, () => connect(port, '127.0.0.1').on('error', () => {}))
    // those for which there is no room are shut at once
    await Promise.any(more.map((socket) => once(socket.resume(), 'close')))
    first.write('still here')
    assert.equal(String((await once(first, 'data'))[0]), 'still here')
    for (const socket of more) socket.destroy()
    execFileSync('prlimit', [`--pid=${pid}`, '--nofile=1024:'])
    for (let answer = ''; answer !== 'later'; ) answer = await ask(port, 'later').catch(() => '')
    first.destroy()
  })

  test("the ancestor's two command lines work as they are written, and need no wormhole in PATH", async () => {
    const args = (purpose: string, port: number) =>
      `--purpose=${purpose} --service=127.0.0.1:${port} --gateway=%innerip%:%innerport% --faraway=%peerip%:%peerport%`
    const accepter = await programs.accepter(
      '--exec-command=wormhole',
      `--exec-args=${args('export', echo.port)}`,
      `--exec-log=${programs.path('export.log')}`,
    )
    const importer = programs.inviter('--exec-command=wormhole', `--exec-args=${args('import', 0)}`)
    assert.equal(await ask(await importedAt(importer, 'service'), 'as in the manual'), 'as in the manual')
    assert.equal((await importer.end()).code, 0)
    await accepter.said(/the command exited with code 0/)
    assert.match(readFileSync(programs.path('export.log'), 'utf8'), /closed by the peer/)
  })

  test('a peer that is not there takes its own services away, and nobody else’s', async () => {
    const folder = (name: string) => programs.path(join('repo', 'alice@example.com', name))
    const [laptop, phone, away] = [folder('laptop'), folder('phone'), programs.path('away')]
    try {
      await rename(phone, away)
      const flags = ['--import', 'echo=0,peer=laptop', '--import', 'other=0,peer=phone']
      const importer = await programs.accepter(...flags, '--export', `mine=${echo.port},peer=phone`)
      await importer.said(/warning import 'other' of phone is off: .*No identity/)
      await importer.said(/warning export 'mine' to phone is off: .*No identity/)
      programs.inviter('--export', `echo=${echo.port}`)
      const port = await importedAt(importer, 'echo')
      assert.equal(await ask(port, 'here'), 'here')

      // who is added is served, without a restart
      await rename(away, phone)
      await importer.said(/import 'other' of phone is available again/)
      const other = await importedAt(importer, 'other')
      await importer.said(/exporting mine .* to alice@example\.com\/phone/)

      // who is shut out is refused at once, also by the import's own port
      await rename(laptop, away)
      await importer.said(/warning import 'echo' of laptop is off/)
      assert.equal(await failure(connect(port, '127.0.0.1')), 'ECONNREFUSED')
      const waiting = connect(other, '127.0.0.1')
      await once(waiting, 'connect')
      waiting.destroy()

      // and it goes on after a SIGHUP
      importer.process.kill('SIGHUP')
      await importer.said(/SIGHUP: changes in the repository/)
      await rename(away, laptop)
      await importer.said(/import 'echo' of laptop is available again/)
      const { code } = await importer.end()
      assert.equal(code, 0)
    } finally {
      for (const each of [laptop, phone]) await rename(away, each).catch(() => {})
    }
  })

  test('SIGUSR2 tells how it stands, and SIGUSR1 opens no debugger', async () => {
    await programs.accepter('--export', `echo=${echo.port}`)
    const importer = programs.inviter('--import', 'echo=0')
    const socket = connect(await importedAt(importer, 'echo'), '127.0.0.1')
    socket.write('hello')
    await once(socket, 'data')
    importer.process.kill('SIGUSR1')
    importer.process.kill('SIGUSR2')
    await importer.said(/1 connection open, 1 since the start, 0 failed, 0 waiting for a tunnel; 1 tunnel/)
    await importer.said(
      /tunnel with bob@example\.com\/server over \S+, round trip \d+\.\d ms: 1 stream, 0 flows, .* in at /,
    )
    socket.destroy()
    assert.doesNotMatch((await importer.end()).stderr, /[Dd]ebugger/)
  })
})
