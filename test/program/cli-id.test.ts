import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  access,
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type Ended, plexus, plexusOnTerminal } from '../support/cli.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const NO_SCRIPT = !existsSync('/usr/bin/script') && 'needs script of util-linux'

let scratch = ''
let count = 0
/** The repository of the test, in which alice has a key, and one in which bob has. */
let here = ''
let there = ''

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-cli-id-'))
  for (const [repo, name] of [
    ['alice', ALICE],
    ['bob', BOB],
  ] as const) {
    good(await plexus(['id', 'new', name, '--key=ec', `--app-repo=${join(scratch, repo)}`]))
  }
})
beforeEach(async () => {
  const fresh = join(scratch, String(count++))
  here = join(fresh, 'here')
  there = join(fresh, 'there')
  await mkdir(fresh)
  execFileSync('cp', ['-a', join(scratch, 'alice'), here])
  execFileSync('cp', ['-a', join(scratch, 'bob'), there])
})
after(() => rm(scratch, { recursive: true, force: true }))

const id = (repo: string, ...args: string[]) => plexus(['id', ...args, `--app-repo=${repo}`])
const give = (repo: string, input: string, ...args: string[]) =>
  plexus(['id', ...args, `--app-repo=${repo}`], input)

function good(ended: Ended): string {
  assert.equal(ended.code, 0, ended.stderr)
  return ended.stdout
}

/** A refusal: one line, the code at its end, exit 2. */
function refused(ended: Ended, code: string, ...words: string[]): void {
  assert.equal(ended.code, 2, ended.stderr)
  const last = ended.stderr.trimEnd().split('\n').at(-1) ?? ''
  assert.match(last, new RegExp(`^plexus: .*\\[${code}\\]$`))
  for (const word of words) assert.ok(last.includes(word), `${word} in ${last}`)
}

const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' }).toString()

/** Makes a certificate that another program would make, of a key that nobody keeps. */
function foreign(file: string, subject: string, ...more: string[]): void {
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', '/dev/null']
  openssl('req', '-x509', ...key, '-subj', subject, ...more, '-out', file)
}

const certificateOf = (repo: string, name: string) => join(repo, name, 'cert.crt')

function fingerprintOf(file: string): string {
  return openssl('x509', '-in', file, '-noout', '-fingerprint', '-sha256').trim().replace(/^.*=/, '')
}

test('list names every identity, marks the own ones, and says when they expire', async () => {
  await mkdir(join(here, 'bob@px.test', 'server'), { recursive: true })
  await copyFile(certificateOf(there, BOB), certificateOf(here, BOB))
  await mkdir(join(here, 'carol', 'empty'), { recursive: true })
  await mkdir(join(here, 'dave', 'soon'), { recursive: true })
  const soon = certificateOf(here, 'dave/soon')
  foreign(soon, '/CN=d', '-days', '10')
  const lines = good(await id(here, 'list'))
    .trimEnd()
    .split('\n')
  assert.match(lines[0] ?? '', /^\* alice@px.test\/laptop +expires on \d{4}-\d\d-\d\d$/)
  assert.match(lines[1] ?? '', /^ {2}bob@px.test\/server +expires on/)
  assert.match(lines[2] ?? '', /^ {2}carol\/empty +no certificate$/)
  assert.match(lines[3] ?? '', /^ {2}dave\/soon +expires in (9|10) days, on/)
  assert.equal(lines.length, 4)
})

test('show tells what openssl tells, and who may read the key', async () => {
  const shown = good(await id(here, 'show', 'laptop'))
  assert.ok(shown.includes(fingerprintOf(certificateOf(here, ALICE))), shown)
  assert.match(shown, /key +EC on P-256, 256 bits/)
  assert.match(shown, /subject +CN=alice@px.test\/laptop/)
  assert.match(shown, /private key .*mode 0600.*only .* can read it/)
  assert.ok(!shown.includes('PRIVATE'))
  await chmod(join(here, ALICE, 'private.key'), 0o644)
  assert.match(good(await id(here, 'show', ALICE)), /mode 0644.*OTHER USERS CAN READ IT/)
})

test('what one exports the other imports, by the fingerprint that openssl prints', async () => {
  const handout = good(await id(there, 'export', 'server'))
  const fingerprint = fingerprintOf(certificateOf(there, BOB))
  for (const form of [
    fingerprint,
    fingerprint.replaceAll(':', '').toLowerCase(),
    `sha256 Fingerprint=${fingerprint}`,
  ]) {
    good(await give(here, handout, 'import', '-', `--fingerprint=${form}`))
    assert.equal(
      await readFile(certificateOf(here, BOB), 'utf8'),
      await readFile(certificateOf(there, BOB), 'utf8'),
    )
    await rm(join(here, 'bob@px.test'), { recursive: true })
  }
  assert.match(
    good(await give(join(scratch, 'new', 'repo'), handout, 'import', '-', `--fingerprint=${fingerprint}`)),
    /may connect/,
  )
})

test('export writes a new file, and no old one', async () => {
  const out = join(here, '..', 'alice.crt')
  good(await id(here, 'export', ALICE, `--out=${out}`))
  assert.equal(openssl('x509', '-in', out, '-noout', '-subject').includes('alice@px.test/laptop'), true)
  refused(await id(here, 'export', ALICE, `--out=${out}`), 'BAD_FLAG', out, 'exists')
})

test('import without a terminal and without a fingerprint changes nothing', async () => {
  const handout = good(await id(there, 'export', 'server'))
  refused(await give(here, handout, 'import', '-'), 'NOT_CONFIRMED', '--fingerprint')
  const other = fingerprintOf(certificateOf(here, ALICE))
  refused(
    await give(here, handout, 'import', '-', `--fingerprint=${other}`),
    'FINGERPRINT',
    fingerprintOf(certificateOf(there, BOB)),
  )
  refused(await give(here, handout, 'import', '-', '--fingerprint=AA:BB'), 'BAD_FLAG', 'AA:BB')
  assert.deepEqual(await readdir(here), ['alice@px.test'])
})

test('on a terminal import shows the fingerprint and asks', { skip: NO_SCRIPT }, async () => {
  const file = join(here, '..', 'bob.crt')
  good(await id(there, 'export', 'server', `--out=${file}`))
  const args = ['id', 'import', file, `--app-repo=${here}`]
  const no = await plexusOnTerminal(args, '\n')
  assert.equal(no.code, 2)
  assert.match(no.stdout, /NOT_CONFIRMED/)
  assert.deepEqual(await readdir(here), ['alice@px.test'])
  const yes = await plexusOnTerminal(args, 'y\n')
  assert.ok(yes.stdout.includes(fingerprintOf(certificateOf(there, BOB))))
  assert.ok(yes.stdout.includes(BOB))
  assert.equal(yes.code, 0)
  await access(certificateOf(here, BOB))
})

test('a foreign certificate is named by the header of an export, or by --as', async () => {
  const file = join(here, '..', 'foreign.crt')
  foreign(file, '/CN=x')
  const by = `--fingerprint=${fingerprintOf(file)}`
  refused(await id(here, 'import', file, by), 'IDENTITY_NAME', '--as')
  good(await id(here, 'import', file, by, '--as=eve@px.test/phone'))
  const handout = good(await id(here, 'export', 'phone'))
  assert.match(handout, /^# plexus identity: eve@px.test\/phone\n-----BEGIN/)
  good(await give(there, handout, 'import', '-', by))
  await access(certificateOf(there, 'eve@px.test/phone'))
  refused(await give(here, handout, 'import', '-', by, '--as=mallory/phone'), 'BAD_FLAG', 'mallory')
})

test('a file that is no handout is refused, and a private key above all', async () => {
  const key = join(here, ALICE, 'private.key')
  refused(await id(here, 'import', key), 'CERTIFICATE_INVALID', 'private key')
  refused(await give(here, 'text', 'import', '-'), 'CERTIFICATE_INVALID', 'PEM certificate')
  refused(await id(here, 'import', join(here, 'none')), 'BAD_FLAG', 'none')
  refused(await give(here, 'x'.repeat(70_000), 'import', '-'), 'CERTIFICATE_INVALID', '64 KiB')
})

test('a rollover goes from renew over import to finish', async () => {
  const first = fingerprintOf(certificateOf(there, BOB))
  good(await give(here, good(await id(there, 'export', BOB)), 'import', '-', `--fingerprint=${first}`))
  const begun = good(await id(there, 'renew', 'server'))
  const next = fingerprintOf(join(there, BOB, 'cert.next.crt'))
  assert.ok(begun.includes(next))
  refused(await id(there, 'renew', 'server'), 'IDENTITY_EXISTS', '--finish')

  const handout = good(await id(there, 'export', 'server'))
  refused(await give(here, handout, 'import', '-', `--fingerprint=${first}`), 'FINGERPRINT', next)
  good(await give(here, handout, 'import', '-', `--fingerprint=${next}`))
  assert.equal(fingerprintOf(certificateOf(here, BOB)), first)
  assert.equal(fingerprintOf(join(here, BOB, 'cert.next.crt')), next)
  assert.match(good(await give(here, handout, 'import', '-')), /already/)
  assert.match(good(await id(here, 'list')), /key being replaced/)
  assert.ok(good(await id(here, 'show', 'server')).includes(next))

  refused(await id(there, 'renew', 'server', '--finish'), 'NOT_CONFIRMED', '--yes')
  for (const repo of [there, here]) {
    good(await id(repo, 'renew', 'server', '--finish', '--yes'))
    assert.equal(fingerprintOf(certificateOf(repo, BOB)), next)
    refused(await id(repo, 'renew', 'server', '--finish', '--yes'), 'IDENTITY_MISSING')
  }
  assert.deepEqual((await readdir(join(there, BOB))).sort(), ['cert.crt', 'private.key'])
  assert.deepEqual(await readdir(join(here, BOB)), ['cert.crt'])
})

test('an own identity is not replaced by an import', async () => {
  good(await id(here, 'renew', 'laptop'))
  const file = join(here, '..', 'other.crt')
  foreign(file, '/CN=x')
  refused(
    await id(here, 'import', file, `--as=${ALICE}`, `--fingerprint=${fingerprintOf(file)}`),
    'IDENTITY_EXISTS',
    'renew',
  )
})

test('remove asks, and takes a private key only when told so', async () => {
  const fingerprint = fingerprintOf(certificateOf(there, BOB))
  good(await give(here, good(await id(there, 'export', BOB)), 'import', '-', `--fingerprint=${fingerprint}`))
  refused(await id(here, 'remove', 'server'), 'NOT_CONFIRMED', '--yes')
  refused(await id(here, 'remove', 'laptop', '--yes'), 'IDENTITY_EXISTS', '--with-key')
  await access(certificateOf(here, BOB))
  await writeFile(join(here, BOB, 'notes.txt'), 'of the user')
  good(await id(here, 'remove', 'server', '--yes'))
  assert.deepEqual(await readdir(here), ['alice@px.test'])
  good(await id(here, 'remove', 'laptop', '--yes', '--with-key'))
  assert.deepEqual(await readdir(here), [])
})

test('mistakes on the command line are named', async () => {
  refused(await id(here, 'show'), 'BAD_FLAG', 'show')
  refused(await id(here, 'show', 'nobody'), 'IDENTITY_MISSING', 'nobody')
  refused(await id(here, 'show', 'no/body'), 'IDENTITY_MISSING', 'no/body')
  refused(await id(here, 'show', '../..'), 'IDENTITY_NAME')
  refused(await id(here, 'list', 'x'), 'BAD_FLAG', 'list')
  refused(await id(here, 'list', '--yes'), 'BAD_FLAG', '--yes')
  refused(await id(join(here, 'none'), 'list'), 'REPOSITORY', 'none')
  refused(await id(here, 'forget', 'x'), 'BAD_FLAG')
  refused(
    await plexus(['--peer-info=nobody', '--host-info=laptop', `--app-repo=${here}`]),
    'IDENTITY_MISSING',
    '--peer-info',
    'nobody',
  )
  refused(
    await plexus(['--peer-info=x', '--host-info=a/b/c', `--app-repo=${here}`]),
    'BAD_FLAG',
    '--host-info',
    'a/b/c',
  )
  await mkdir(join(here, 'alice@px.test', 'phone'))
  refused(
    await id(here, 'show', 'alice@px.test'),
    'IDENTITY_AMBIGUOUS',
    'alice@px.test/laptop',
    'alice@px.test/phone',
  )
})

test('of an identity whose directory is a symbolic link, remove takes the link alone', async () => {
  await mkdir(join(here, 'link'))
  await symlink(join(here, ALICE), join(here, 'link', 'pin'))
  good(await id(here, 'remove', 'link/pin', '--yes', '--with-key'))
  assert.deepEqual(await readdir(here), ['alice@px.test'])
  assert.deepEqual((await readdir(join(here, ALICE))).sort(), ['cert.crt', 'private.key'])
})
