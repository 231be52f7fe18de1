import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { run } from '../../src/cli/commands/index.js'
import { asPlexusError } from '../../src/errors/index.js'
import { createIdentity, parseIdentity } from '../../src/identity/index.js'
import { formatEndpoint, silent, UdpPort } from '../../src/net/index.js'
import { StunServer } from '../../src/stun/index.js'
import { BAD_INPUT } from '../support/bad-input.js'
import { quietly } from '../support/quietly.js'

const [ALICE, BOB, CAROL] = ['alice@example.com/laptop', 'bob@example.com/server', 'carol@example.com/phone']
const root = mkdtempSync(join(tmpdir(), 'plexus-agrees-'))
const at = (...names: string[]) => join(root, 'machine', ...names)

let stun: StunServer
const held: { udp?: UdpPort; tcp?: Server } = {}

before(async () => {
  stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  for (const [name, key] of [
    [ALICE, 'ec'],
    [BOB, 'ec'],
    [CAROL, 'ec'],
  ] as const) {
    const options = { key, random: systemRandom, date: systemClock.date() }
    await createIdentity(join(root, 'kept'), parseIdentity(name), options)
  }
  for (const name of [BOB]) rmSync(join(root, 'kept', name, 'private.key'))
  held.udp = UdpPort.open({ address: '127.0.0.1' })
  held.tcp = createServer().listen(0, '127.0.0.1')
})
after(async () => {
  await stun.close()
  await held.udp?.close()
  held.tcp?.close()
  rmSync(root, { recursive: true, force: true })
})

function freshMachine(): void {
  rmSync(at(), { recursive: true, force: true })
  cpSync(join(root, 'kept'), at('repo'), { recursive: true })
  chmodSync(at('repo'), 0o700)
  for (const name of ['post', 'dir']) mkdirSync(at(name), { mode: 0o700 })
  writeFileSync(at('file'), 'text\n')
  writeFileSync(at('password'), 'secret\n', { mode: 0o600 })
}

const GOOD: Readonly<Record<string, () => string>> = {
  'app-repo': () => at('repo'),
  'host-info': () => ALICE,
  'peer-info': () => BOB,
  rendezvous: () => `dir:${at('post')}`,
  'state-dir': () => at('state'),
  'stun-server': () => stun.endpoints.map(formatEndpoint)[0] ?? '',
}

/** A good command line, with these flags in place of its own or beside them; those that are undefined are left out. */
function flags(other: Readonly<Record<string, string | undefined>>, words: readonly string[] = []): string[] {
  const own = Object.entries(GOOD).filter(([name]) => !(name in other))
  return [
    ...own.map(([name, value]) => `--${name}=${value()}`),
    ...Object.entries(other).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`])),
    '--no-port-mapping',
    ...words,
  ]
}

interface Fault {
  readonly what: string
  readonly plant?: () => void
  readonly flags?: () => Readonly<Record<string, string | undefined>>
  readonly words?: readonly string[]
}

const account = (more: Readonly<Record<string, string>>) => ({
  rendezvous: 'email:',
  'email-smtps': '127.0.0.1:9',
  'email-imaps': '127.0.0.1:9',
  'email-login': 'alice@example.com',
  'email-password-file': at('password'),
  ...more,
})

/** Faults of the machine; those of the command line alone are in `BAD_INPUT`. */
const FAULTS: readonly Fault[] = [
  { what: 'a repository that is missing', flags: () => ({ 'app-repo': at('nowhere') }) },
  { what: 'a repository that is a file', flags: () => ({ 'app-repo': at('file') }) },
  { what: 'a repository that others can write', plant: () => chmodSync(at('repo'), 0o777) },
  { what: 'a key that others can read', plant: () => chmodSync(at('repo', ALICE, 'private.key'), 0o644) },
  { what: 'no key', flags: () => ({ 'host-info': BOB, 'peer-info': ALICE }) },
  {
    what: 'the key of somebody else',
    plant: () => copyFileSync(at('repo', CAROL, 'private.key'), at('repo', ALICE, 'private.key')),
  },
  {
    what: 'a key that is none',
    plant: () => writeFileSync(at('repo', ALICE, 'private.key'), 'x', { mode: 0o600 }),
  },
  { what: 'a certificate that is none', plant: () => writeFileSync(at('repo', ALICE, 'cert.crt'), 'x') },
  { what: 'no certificate', plant: () => rmSync(at('repo', ALICE, 'cert.crt')) },
  { what: 'several identities, none named', flags: () => ({ 'host-info': undefined }) },
  { what: 'an identity that is not there', flags: () => ({ 'host-info': 'eve@example.com/x' }) },
  { what: 'a peer that is not there', flags: () => ({ 'peer-info': 'eve@example.com/x' }) },
  { what: 'a short name that nobody has', flags: () => ({ 'peer-info': 'eve' }) },
  { what: 'a peer whose certificate is none', plant: () => writeFileSync(at('repo', BOB, 'cert.crt'), 'x') },
  { what: 'a peer without a certificate', plant: () => rmSync(at('repo', BOB, 'cert.crt')) },
  {
    what: 'a list of revoked certificates that is none',
    plant: () => writeFileSync(at('repo', 'revoked'), '?\n'),
  },
  {
    what: 'a peer that does not chain to the authority',
    plant: () => copyFileSync(at('repo', CAROL, 'cert.crt'), at('repo', ALICE, 'ca.crt')),
  },
  { what: 'an authority that is none', plant: () => writeFileSync(at('repo', ALICE, 'ca.crt'), 'x') },
  { what: 'a state directory that is a file', flags: () => ({ 'state-dir': at('file') }) },
  {
    what: 'a state directory that others can write',
    plant: () => chmodSync(at('dir'), 0o777),
    flags: () => ({ 'state-dir': at('dir') }),
  },
  { what: 'a meeting directory that is a file', flags: () => ({ rendezvous: `dir:${at('file')}` }) },
  { what: 'a meeting directory that cannot be made', flags: () => ({ rendezvous: 'dir:/proc/plexus' }) },
  {
    what: 'an option of the rendezvous that there is not',
    flags: () => ({ rendezvous: `dir:${at('post')}?x=1` }),
  },
  { what: 'a rendezvous that is not installed', flags: () => ({ rendezvous: 'plexus-nothing' }) },
  { what: 'a module that is missing', flags: () => ({ rendezvous: at('module.js') }) },
  {
    what: 'a module that opens nothing',
    plant: () => writeFileSync(at('module.mjs'), 'export const x = 1\n'),
    flags: () => ({ rendezvous: at('module.mjs') }),
  },
  {
    what: 'a module with a mistake',
    plant: () => writeFileSync(at('wrong.mjs'), 'export const = 1\n'),
    flags: () => ({ rendezvous: at('wrong.mjs') }),
  },
  {
    what: 'a module that others can write',
    plant: () => {
      writeFileSync(at('open.mjs'), 'export const open = () => {}\n')
      chmodSync(at('open.mjs'), 0o666)
    },
    flags: () => ({ rendezvous: at('open.mjs') }),
  },
  { what: 'a command of a rendezvous that is missing', flags: () => ({ rendezvous: 'exec:/nowhere/run' }) },
  {
    what: 'a UDP port that is taken',
    flags: () => ({ 'stun-client': formatEndpoint(held.udp?.local(4) ?? NOWHERE) }),
  },
  {
    what: 'a port of an import that is taken',
    flags: () => {
      const bound = held.tcp?.address()
      return { import: `ssh=${typeof bound === 'object' && bound ? bound.port : 0}` }
    },
  },
  { what: 'a path of an import that is taken', flags: () => ({ import: `ssh=unix:${at('file')}` }) },
  {
    what: 'a path of an import that is nowhere',
    flags: () => ({ import: `ssh=unix:${at('nowhere', 'socket')}` }),
  },
  {
    what: 'a result behind a link that leads nowhere',
    plant: () => symlinkSync(at('nowhere'), at('link')),
    flags: () => ({ result: at('link') }),
  },
  { what: 'a result in a file', flags: () => ({ result: at('file', 'result') }) },
  { what: 'a log that is a directory', flags: () => ({ 'log-file': at('dir') }) },
  {
    what: 'an output of the command that is a directory',
    flags: () => ({ 'exec-command': '/bin/sh', 'exec-log': at('dir') }),
  },
  {
    what: 'a command that others can write',
    plant: () => {
      writeFileSync(at('command'), '#!/bin/sh\n')
      chmodSync(at('command'), 0o777)
    },
    flags: () => ({ 'exec-command': at('command') }),
  },
  {
    what: 'a command without an interpreter',
    plant: () => writeFileSync(at('script'), '#!/nowhere/sh\n', { mode: 0o755 }),
    flags: () => ({ 'exec-command': at('script') }),
  },
  {
    what: 'a working directory that is a file',
    flags: () => ({ 'exec-command': '/bin/sh', 'exec-pwd': at('file') }),
  },
  { what: 'a password file that is missing', flags: () => account({ 'email-password-file': at('nowhere') }) },
  {
    what: 'a password file that others can read',
    plant: () => chmodSync(at('password'), 0o644),
    flags: () => account({}),
  },
  { what: 'a password file that is a directory', flags: () => account({ 'email-password-file': at('dir') }) },
  {
    what: 'an empty password file',
    plant: () => writeFileSync(at('password'), '\n'),
    flags: () => account({}),
  },
  {
    what: 'an authority of the mail server that is missing',
    flags: () => account({ 'email-ca': at('nowhere') }),
  },
  { what: 'an authority of the mail server that is none', flags: () => account({ 'email-ca': at('file') }) },
  {
    what: 'a certificate for the mail server without its key',
    flags: () => account({ 'email-cert': at('file') }),
  },
  {
    what: 'a DHT bootstrap that has no address',
    flags: () => ({ rendezvous: 'dht:', 'dht-bootstrap': 'x' }),
  },
  { what: 'the old dialect without email', flags: () => ({ dialect: 'plexus-3' }) },
  {
    what: 'a dialect of a peer that is none',
    plant: () => writeFileSync(at('repo', BOB, 'dialect'), 'esperanto\n'),
  },
  {
    what: 'a configuration with a flag that there is not',
    plant: () => writeFileSync(at('config'), 'frobnicate=1\n'),
    flags: () => ({ config: at('config') }),
  },
]

const NOWHERE = { address: '127.0.0.1', port: 0 }

interface Verdict {
  readonly code: string
  readonly sentence: string
}

/** How the start ends. */
async function started(args: readonly string[]): Promise<Verdict[]> {
  const { result } = await quietly(() =>
    run(args).then((code) => ({ code: String(code), message: '' }), asPlexusError),
  )
  return [{ code: result.code, sentence: result.message }]
}

/** What `plexus check` finds at fault. */
async function checked(args: readonly string[]): Promise<Verdict[]> {
  const { result, said } = await quietly(() =>
    run(['check', '--json', ...args]).then(() => undefined, asPlexusError),
  )
  if (result) return [{ code: result.code, sentence: result.message }]
  const { findings } = JSON.parse(said.slice(said.indexOf('{'))) as {
    findings: { state: string; code?: string; sentence: string }[]
  }
  return findings
    .filter(({ state }) => state === 'FAIL')
    .map(({ code = '', sentence }) => ({ code, sentence }))
}

describe('plexus check says of every fault what the start says', () => {
  const agree = async (args: readonly string[], prepare = () => {}) => {
    freshMachine()
    prepare()
    const [begun] = await started(args)
    freshMachine()
    prepare()
    const found = await checked(args)
    assert.ok(begun)
    assert.notEqual(begun.code, '0', 'the start found no fault')
    assert.ok(
      found.some(({ code, sentence }) => code === begun.code && sentence === begun.sentence),
      `the start: [${begun.code}] ${begun.sentence}\ncheck: ${found.map(({ code, sentence }) => `[${code}] ${sentence}`).join('\n  ') || 'nothing'}`,
    )
  }

  for (const { what, plant, flags: other = () => ({}), words = [] } of FAULTS) {
    test(what, async () => {
      freshMachine()
      await agree(flags(other(), ['--timeout=2', ...words]), plant)
    })
  }

  for (const [what, more] of BAD_INPUT) {
    test(`on the command line: ${what}`, () => agree([...flags({}), ...more]))
  }
})
