import assert from 'node:assert/strict'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { run } from '../../src/cli/commands/index.js'
import { asPlexusError } from '../../src/errors/index.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { FaultyFiles, type FileCall } from '../support/faulty-files.js'
import { quietly } from '../support/quietly.js'

const SERVER = 'bob@example.com/server'
const LAPTOP = 'alice@example.com/laptop'

const outside = fs.mkdtempSync(join(tmpdir(), 'plexus-faults-'))
const root = join(outside, 'machine')
const at = (...names: string[]) => join(root, ...names)
const logFile = join(outside, 'log')
let fingerprint = ''
let stun: StunServer
let files: FaultyFiles

before(async () => {
  stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  for (const name of [SERVER, LAPTOP]) {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    const made = await createIdentity(join(outside, 'kept'), parseIdentity(name), options)
    if (name === LAPTOP) fingerprint = made.fingerprint
  }
  fs.rmSync(join(outside, 'kept', LAPTOP, 'private.key'))
  files = new FaultyFiles(root)
})
after(async () => {
  files.remove()
  await stun.close()
  fs.rmSync(outside, { recursive: true, force: true })
})

/** A machine as it was before, with everything that a command wants to find there. */
function freshMachine(): void {
  fs.rmSync(root, { recursive: true, force: true })
  fs.cpSync(join(outside, 'kept'), at('repo'), { recursive: true })
  fs.chmodSync(at('repo'), 0o700)
  fs.mkdirSync(at('dir'))
  fs.copyFileSync(at('repo', LAPTOP, 'cert.crt'), at('peer.pem'))
  fs.writeFileSync(at('config'), 'app-id=faults\n')
  fs.writeFileSync(at('command'), '#!/bin/sh\n', { mode: 0o755 })
  fs.writeFileSync(at('key'), systemRandom(32), { mode: 0o600 })
}

/** What came of a run: everything that a person sees, and what a script does. */
interface Ran {
  readonly code: string
  readonly said: string
}

/** Runs a command line in this process, without a word on its streams. */
async function ran(args: readonly string[]): Promise<Ran> {
  fs.rmSync(logFile, { force: true })
  const log = () => (fs.existsSync(logFile) ? fs.readFileSync(logFile, 'utf8') : '')
  const ready = setInterval(() => {
    if (/ready for invites/.test(log())) process.emit('SIGTERM', 'SIGTERM')
  }, 5)
  const { result, said } = await quietly(() => run(args).then(String, asPlexusError))
  clearInterval(ready)
  if (typeof result === 'string') return { code: result, said: said + log() }
  return { code: result.code, said: `${result.message} ${said}${log()}` }
}

/**
 * What may fail without a word: it changes nothing for anybody. A mode that the umask gave already, a draft that stays behind, what
 * only saves time, and what is asked again in a moment.
 */
const HARMLESS: readonly RegExp[] = [
  /^handle\.chmod /,
  /^unlink .*\/\.#$/,
  /^link /, // a file system without hard links
  /^rmdir /,
  /\/(?:paths|behaviour)(?:\.new)?$/,
  /^(?:readFileSync|writeSync|ftruncateSync|rmSync|lstatSync) .*\/lock$/,
  /^stat .*\/(?:cert|cert\.next|ca|private|private\.next)\.(?:crt|key)$/,
  /^stat .*\/revoked$/,
  /^rm .*\/\.#-#-#\.#\.tmp$/,
]

const COMMANDS: Readonly<Record<string, () => readonly string[]>> = {
  'id new': () => ['id', 'new', 'carol@example.com/phone', '--key=ec', `--app-repo=${at('repo')}`],
  'id new, in a new repository': () => ['id', 'new', SERVER, '--key=ec', `--app-repo=${at('other')}`],
  'id list': () => ['id', 'list', `--app-repo=${at('repo')}`],
  'id show': () => ['id', 'show', SERVER, `--app-repo=${at('repo')}`],
  'id export': () => ['id', 'export', SERVER, `--out=${at('out.pem')}`, `--app-repo=${at('repo')}`],
  'id import': () => [
    ...['id', 'import', at('peer.pem'), `--as=${LAPTOP}`, `--fingerprint=${fingerprint}`],
    `--app-repo=${at('other')}`,
  ],
  'id renew': () => ['id', 'renew', SERVER, '--key=ec', `--app-repo=${at('repo')}`],
  'id remove': () => ['id', 'remove', LAPTOP, '--yes', `--app-repo=${at('repo')}`],
  'an accepter with a command': () => [
    ...[
      '--accept',
      `--config=${at('config')}`,
      `--result=${at('result')}`,
      `--exec-command=${at('command')}`,
    ],
    ...[`--exec-log=${at('exec.log')}`, `--exec-pwd=${at('dir')}`, ...pairing()],
  ],
}

function pairing(): string[] {
  return [
    ...[`--app-repo=${at('repo')}`, `--state-dir=${at('state')}`, `--rendezvous=dir:${at('post')}`],
    ...[
      `--stun-server=${stun.endpoints.map(formatEndpoint)[0]}`,
      '--no-port-mapping',
      `--log-file=${logFile}`,
    ],
  ]
}

/** Every use of a file that a command line makes, each kind once. */
async function usesOf(args: readonly string[]): Promise<FileCall[]> {
  freshMachine()
  files.watch()
  await ran(args)
  files.rest()
  const distinct = new Map(files.calls.map((call) => [`${call.call} ${call.path}`, call]))
  return [...distinct.values()]
}

/** What a system says of any file, and of one that is written. */
const CODES = ['EIO', 'EACCES', 'ELOOP', 'ENAMETOOLONG'] as const
const WRITING = ['ENOSPC', 'EROFS', 'EDQUOT'] as const
const WRITES = /write|mkdir|open|rename|link|sync|truncate|mkdtemp/i

describe('every use of a file that fails is told by its cause', () => {
  for (const [name, args] of Object.entries(COMMANDS)) {
    test(name, async () => {
      const uses = await usesOf(args())
      assert.ok(uses.length > 5, 'nothing was watched')
      for (const [index, use] of uses.entries()) {
        const shown = `${use.call} ${use.path}`
        const codes = [...CODES, ...(WRITES.test(use.call) ? WRITING : [])]
        // each use fails in one way, and all of them in all ways
        for (const code of ['EIO', codes[index % codes.length] ?? 'EIO'] as const) {
          freshMachine()
          files.watch({ ...use, code })
          const { code: end, said } = await ran(args())
          files.rest()
          assert.doesNotMatch(`${end} ${said}`, /INTERNAL|undefined|\[object/, `${shown}: ${code}`)
          if (HARMLESS.some((each) => each.test(shown))) continue
          // looking for who decides on a path, `unsafePath` leaves it to the use to say that there is no way to it
          if (/^lstat(?:Sync)? /.test(shown) && code !== 'EIO') continue
          // a list has a word for it, and `id show` the cause; what is removed need not be read
          const told = name === 'id list' ? '|unreadable' : name === 'id remove' ? '|was removed' : ''
          assert.match(said, new RegExp(code + told), `${shown}: ${code} ended with ${end} and ${said}`)
        }
      }
    })
  }

  test('the key of a tunnel', async () => {
    const args = ['wormhole', '--purpose=export', '--service=127.0.0.1:9', `--key-file=${at('key')}`]
    const hole = ['--gateway=127.0.0.1:0', '--faraway=127.0.0.1:9']
    for (const call of ['openSync', 'fstatSync', 'readSync']) {
      freshMachine()
      files.watch({ call, path: at('key'), code: 'EIO' })
      const { code, said } = await ran([...args, ...hole])
      files.rest()
      assert.equal(code, 'TUNNEL_KEY', said)
      assert.match(said, /EIO/)
    }
  })
})
