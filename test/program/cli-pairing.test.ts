import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { Program } from '../support/program.js'

const SERVER = 'bob@example.com/server'
const LAPTOP = 'alice@example.com/laptop'
const PHONE = 'alice@example.com/phone'

describe('two programs on one machine', () => {
  let directory: string
  let stun: StunServer
  const running: Program[] = []

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plexus-cli-'))
    stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    for (const name of [SERVER, LAPTOP, PHONE]) {
      await createIdentity(join(directory, 'repo'), parseIdentity(name), options)
    }
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((program) => program.end('SIGTERM')))
  })
  after(async () => {
    await stun.close()
    await rm(directory, { recursive: true, force: true })
  })

  const path = (name: string) => join(directory, name)
  const read = (name: string) => readFileSync(path(name), 'utf8')
  const result = (name: string) => JSON.parse(read(name)) as Record<string, unknown>

  const start = (host: string, flags: readonly string[], env: Record<string, string> = {}): Program => {
    const [server = { address: '', port: 0 }] = stun.endpoints
    const program = new Program(
      [
        `--app-repo=${path('repo')}`,
        `--host-info=${host}`,
        `--rendezvous=dir:${path('post')}`,
        `--stun-server=${formatEndpoint(server)}`,
        `--state-dir=${path('state')}`,
        ...flags,
      ],
      { env },
    )
    running.push(program)
    return program
  }
  const accepter = async (...flags: string[]): Promise<Program> => {
    const program = start(SERVER, ['--accept', ...flags])
    await program.said(/ready for invites/)
    return program
  }
  const inviter = (...flags: string[]) => start(LAPTOP, [`--peer-info=${SERVER}`, ...flags])

  /** A command of a few shell lines. */
  const script = (name: string, ...lines: string[]): string => {
    writeFileSync(path(name), ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 })
    return `--exec-command=${path(name)}`
  }

  test('without a command the passage is printed, and the result is told in a file', async () => {
    await accepter()
    const { code, stdout } = await inviter(`--result=${path('result')}`).ended
    assert.equal(code, 0)
    const lines = stdout.trim().split('\n')
    for (const line of lines) assert.match(line, /^PLEXUS_[A-Z_]+=/)
    // of either family: both lead to this machine
    const address = lines.find((line) => line.startsWith('PLEXUS_PEER_IP='))?.split('=')[1]
    assert.notEqual(isIP(address ?? ''), 0)
    const told = result('result')
    assert.equal(told.paired, true)
    assert.equal(told.code, null)
    assert.equal(told.peer, SERVER)
    assert.equal(told.exit, null)
    assert.match(String(told.session), /^[0-9a-f]{32}$/)
    assert.deepEqual(Object.keys(told.addresses as object), ['inner', 'outer', 'peer'])
    assert.equal(statSync(path('result')).mode & 0o777, 0o600)
    const secret = /^PLEXUS_SECRET=(.*)$/m.exec(stdout)?.[1] ?? ''
    assert.ok(!read('result').includes(secret))
  })

  test('an accepter says at its start whom it accepts', async () => {
    const program = await accepter()
    await program.said(/accepting/)
    assert.match(program.stderr, /accepting alice@example\.com\/laptop, alice@example\.com\/phone as bob@/)
  })

  test('arguments and variables reach the command as they were meant', async () => {
    await accepter()
    const command = script(
      'words',
      `printf '%s|' "$@" >${path('words.out')}`,
      `echo "$A $B" >>${path('words.out')}`,
    )
    const flags = ['--exec-args', '--purpose=export "two words" %peerid%', '--exec-env=A=1 B=%hostid%']
    assert.equal((await inviter(command, ...flags).ended).code, 0)
    assert.equal(read('words.out'), `--purpose=export|two words|${SERVER}|1 ${LAPTOP}\n`)
  })

  test('quotes around the whole of the arguments are part of them', async () => {
    await accepter()
    const command = script('quotes', `printf '%s|' "$@" >${path('quotes.out')}`)
    for (const form of [["--exec-args='a b' 'c'"], ['--exec-args', '"a b" "c"']]) {
      assert.equal((await inviter(command, ...form).ended).code, 0)
      assert.equal(read('quotes.out'), 'a b|c|')
    }
  })

  test('empty arguments are no arguments', async () => {
    await accepter()
    const command = script('none', `echo $# >${path('none.out')}`)
    assert.equal((await inviter(command, '--exec-args=').ended).code, 0)
    assert.equal(read('none.out'), '0\n')
  })

  test('flags come from a file, the environment goes before it and the command line before both', async () => {
    await accepter('--app-id=right')
    writeFileSync(path('conf'), `# a comment\npeer-id = ${SERVER} # the peer\napp-id=file\nlog-level=fatal\n`)
    const env = {
      PLEXUS_OPT_CONFIG: path('conf'),
      PLEXUS_OPT_APP_NAME: 'environment',
      PLEXUS_OPT_NONSENSE: '1',
    }
    const { code, stdout, stderr } = await start(LAPTOP, ['--app-id=right'], env).ended
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^PLEXUS_APP=right$/m)
    assert.equal(stderr, '')
  })

  test('an accepter with --once that is stopped before anybody came says so in its result', async () => {
    const program = await accepter('--once', `--result=${path('stopped')}`)
    const { code } = await program.end('SIGTERM')
    assert.equal(code, 0)
    assert.equal(result('stopped').code, 'CANCELLED')
  })

  test('an accepter with --once ends with the exit code of its one command', async () => {
    const program = await accepter('--once', `--result=${path('once')}`, script('seven', 'exit 7'))
    assert.equal((await inviter().ended).code, 0)
    assert.equal((await program.ended).code, 7)
    const { paired, exit, peer } = result('once')
    assert.deepEqual({ paired, exit, peer }, { paired: true, exit: 7, peer: LAPTOP })
  })

  test('a failure is told in the file too', async () => {
    const { code } = await inviter('--timeout=1', `--result=${path('failed')}`).ended
    assert.equal(code, 1)
    const { paired, code: why, sentence, advice, peer } = result('failed')
    assert.deepEqual({ paired, why, peer }, { paired: false, why: 'PEER_SILENT', peer: SERVER })
    assert.ok(sentence && advice)
  })

  test('a mistake is told in the file too', async () => {
    const { code } = await inviter('--punch-hops=0', `--result=${path('mistake')}`).ended
    assert.equal(code, 2)
    assert.equal(result('mistake').code, 'BAD_FLAG')
  })

  test('an inviter with --keep pairs again when its command has ended, after a pause', async () => {
    await accepter()
    const program = inviter('--keep', script('brief', 'exit 3'))
    await program.said(/(connecting again in[\s\S]*){2}/)
    assert.equal(program.times(/the command exited with code 3/g), 2)
    assert.equal((await program.end()).code, 1)
  })

  test('an inviter with --keep pairs again when the pairing failed', async () => {
    const program = inviter('--keep', '--timeout=1', script('brief', 'exit 3'))
    await program.said(/the pairing failed: [\s\S]*connecting again in/)
    await accepter()
    await program.said(/the command exited with code 3/)
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} is passed on to the command of an inviter, which gives the exit code`, async () => {
      await accepter()
      const command = script(
        'trap',
        `trap 'echo INT >${path('trap.out')}; exit 5' INT`,
        `trap 'echo TERM >${path('trap.out')}; exit 5' TERM`,
        'echo trapped',
        'while :; do sleep 0.05; done',
      )
      const program = inviter(command, `--result=${path('trapped')}`)
      await program.said(/^trapped/)
      assert.equal((await program.end(signal)).code, 5)
      assert.equal(`SIG${read('trap.out').trim()}`, signal)
      assert.equal(result('trapped').exit, 5)
    })

    test(`${signal} is passed on to the command of an accepter, which ends well; SIGUSR2 ends nothing`, async () => {
      const command = script(
        'trap',
        `trap 'echo INT >${path('trap.out')}; exit 5' INT`,
        `trap 'echo TERM >${path('trap.out')}; exit 5' TERM`,
        'echo trapped',
        'while :; do sleep 0.05; done',
      )
      const program = await accepter(command)
      assert.equal((await inviter().ended).code, 0)
      await program.said(/^trapped/m)
      program.process.kill('SIGUSR2')
      assert.equal((await program.end(signal)).code, 0)
      assert.equal(`SIG${read('trap.out').trim()}`, signal)
    })
  }

  test('a range gives each pairing a port of its own, and the surplus is told busy', async () => {
    const program = await accepter('--port-range=47310-47311', script('wait', 'exec sleep 60'))
    const ports: unknown[] = []
    for (const host of [LAPTOP, PHONE]) {
      const { code, stdout, stderr } = await start(host, [`--peer-info=${SERVER}`]).ended
      assert.equal(code, 0, stderr)
      ports.push(Number(/^PLEXUS_PEER_PORT=(\d+)/m.exec(stdout)?.[1]))
    }
    assert.deepEqual(ports.sort(), [47310, 47311])
    await program.said(/(the command runs[\s\S]*){2}/)
    const { code, stderr } = await start(SERVER, [`--peer-info=${SERVER}`]).ended
    assert.equal(code, 1)
    assert.match(stderr, /All 2 ports of this accepter are in use.*\[BUSY\]/)
  })

  test('a second accepter of an identity is refused, and one after kill -9 is not', async () => {
    const first = await accepter()
    const second = await start(SERVER, ['--accept']).ended
    assert.equal(second.code, 2)
    assert.match(
      second.stderr,
      /An accepter of bob@example\.com\/server for 'plexus' is already running \(process \d+\)/,
    )
    await accepter('--app-id=another')
    await first.end('SIGKILL')
    await accepter()
  })

  test('public servers that nobody named are told at the start', async () => {
    const program = new Program([
      '--accept',
      `--app-repo=${path('repo')}`,
      `--host-info=${SERVER}`,
      `--rendezvous=dir:${path('post')}`,
      `--state-dir=${path('state')}`,
      '--dht-port=4222',
    ])
    running.push(program)
    await program.said(/ready for invites/)
    assert.match(program.stderr, /public STUN servers stun\.\S+/)
    assert.match(program.stderr, /ignoring --dht-port: /)
  })
})
