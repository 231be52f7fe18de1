import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type ErrorCode, PlexusError } from '../../src/errors/index.js'
import { createIdentity, formatIdentity, parseIdentity, Repository } from '../../src/identity/index.js'

const DATE = Date.UTC(2026, 10, 21)
const alice = parseIdentity('alice@example.com/laptop')
const bob = parseIdentity('bob@example.com/server')
let scratch = ''
let path = ''
let repository: Repository

const code =
  (expected: ErrorCode, ...words: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof PlexusError, String(error))
    assert.equal(error.code, expected, error.message)
    for (const word of words) {
      assert.ok(
        `${error.message} ${error.advice}`.includes(word),
        `${word} in ${error.message} ${error.advice}`,
      )
    }
    return true
  }

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-identity-'))
  path = join(scratch, 'repo')
  await createIdentity(path, alice, { key: 'ec', random: randomBytes, date: DATE })
  await createIdentity(path, bob, { key: 'ec', random: randomBytes, date: DATE })
  repository = await Repository.open(path)
})

after(() => rm(scratch, { recursive: true, force: true }))

/** A copy of alice's directory under another pin, to spoil. */
async function copyOfAlice(
  pin: string,
): Promise<{ name: typeof alice; certificate: string; key: string; ca: string }> {
  const name = { owner: 'copies', pin }
  const paths = repository.paths(name)
  await mkdir(join(path, 'copies', pin), { recursive: true })
  await copyFile(repository.paths(alice).certificate, paths.certificate)
  await copyFile(repository.paths(alice).privateKey, paths.privateKey)
  await chmod(paths.privateKey, 0o600)
  return { name, certificate: paths.certificate, key: paths.privateKey, ca: paths.ca }
}

test('an identity of one’s own has a certificate and the key that belongs to it', async () => {
  const host = await repository.host(alice)
  assert.deepEqual(host.name, alice)
  assert.equal(host.certificate.keyKind, 'p256')
  assert.equal(host.certificate.fingerprint.length, 32)
  assert.equal(host.privateKey.asymmetricKeyType, 'ec')
})

test('an identity is in the repository when it has a directory there', async () => {
  assert.equal(await repository.has(alice), true)
  assert.equal(await repository.has({ owner: alice.owner, pin: 'other' }), false)
  assert.equal(await repository.has({ owner: '..', pin: 'repo' }), false)
  assert.equal(await repository.has({ owner: alice.owner, pin: 'laptop/../laptop' }), false)
})

test('a repository that is none is refused by name', async () => {
  await assert.rejects(Repository.open(join(scratch, 'none')), code('REPOSITORY', 'none'))
  await assert.rejects(Repository.open(repository.paths(alice).certificate), code('REPOSITORY'))
})

test('a name from the network leads nowhere outside', async () => {
  for (const name of [
    { owner: '..', pin: '..' },
    { owner: '../..', pin: 'etc' },
    { owner: 'a\n', pin: 'b' },
    { owner: '', pin: '' },
  ]) {
    assert.throws(() => repository.paths(name), code('IDENTITY_NAME'))
    await assert.rejects(repository.host(name), code('IDENTITY_NAME'))
    await assert.rejects(repository.certificate(name, { host: alice, date: DATE }), code('IDENTITY_NAME'))
  }
})

test('strange but plain names work like any other', async () => {
  for (const text of [
    '$(touch pwned)/`id`',
    '%peerip%/%secret%',
    'two words/and more',
    'a;b/c|d',
    "it's/é",
  ]) {
    const name = parseIdentity(text)
    await createIdentity(path, name, { key: 'ec', random: randomBytes, date: DATE })
    assert.deepEqual((await repository.host(name)).name, name)
    assert.ok((await repository.list()).some((listed) => formatIdentity(listed) === text))
    await rm(join(path, name.owner), { recursive: true })
  }
})

test('a private key that others can read is refused, and the remedy named', async () => {
  const copy = await copyOfAlice('readable')
  for (const mode of [0o640, 0o604, 0o620, 0o601, 0o644]) {
    await chmod(copy.key, mode)
    await assert.rejects(
      repository.host(copy.name),
      code('KEY_READABLE', `0${mode.toString(8)}`, `chmod 600 ${copy.key}`),
    )
  }
  await chmod(copy.key, 0o400)
  assert.ok(await repository.host(copy.name))
})

test('a private key of another user is refused', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async () => {
  const copy = await copyOfAlice('foreign')
  await chown(copy.key, 4321, 4321)
  await assert.rejects(repository.host(copy.name), code('KEY_READABLE', '4321', 'chown'))
})

test('what is wrong with a key is said', async () => {
  const missing = await copyOfAlice('missing')
  await rm(missing.key)
  await assert.rejects(repository.host(missing.name), code('KEY_MISSING', missing.key))

  const garbage = await copyOfAlice('garbage')
  await writeFile(garbage.key, 'SECRET nonsense')
  await assert.rejects(repository.host(garbage.name), (error) => {
    assert.ok(!JSON.stringify([error, String(error), (error as Error).cause]).includes('nonsense'))
    return code('KEY_INVALID')(error)
  })

  const other = await copyOfAlice('mismatch')
  await copyFile(repository.paths(bob).privateKey, other.key)
  await assert.rejects(repository.host(other.name), code('KEY_INVALID', 'is not the key of'))

  const encrypted = await copyOfAlice('encrypted')
  const arguments_ = ['pkey', '-in', other.key, '-aes256', '-passout', 'pass:x', '-out', encrypted.key]
  execFileSync('openssl', arguments_, { stdio: 'pipe' })
  await assert.rejects(repository.host(encrypted.name), code('KEY_INVALID', 'passphrase'))

  const large = await copyOfAlice('large')
  await writeFile(large.key, Buffer.alloc(64 * 1024 + 1, 0x20))
  await assert.rejects(repository.host(large.name), code('KEY_INVALID', '64 KiB'))
})

test('keys of other kinds are refused', async () => {
  const kinds = [
    ['weak', '-newkey', 'rsa:1024'],
    ['huge', '-newkey', 'rsa:4104'],
    ['curve', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521'],
    ['edwards', '-newkey', 'ed25519'],
  ] as const
  for (const [pin, ...options] of kinds) {
    const copy = await copyOfAlice(pin)
    const files = ['-keyout', copy.key, '-out', copy.certificate]
    execFileSync('openssl', ['req', '-x509', ...options, '-nodes', '-subj', '/CN=x', ...files], {
      stdio: 'pipe',
    })
    await assert.rejects(repository.host(copy.name), code('CERTIFICATE_INVALID', 'neither RSA'))
  }
})

test('keys and certificates that openssl made are read, in its old forms as well', async () => {
  for (const [pin, kind, ...options] of [
    ['rsa', 'rsa', '-newkey', 'rsa:2048'],
    ['ec', 'p384', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  ] as const) {
    const copy = await copyOfAlice(`openssl-${pin}`)
    const files = ['-keyout', copy.key, '-out', copy.certificate]
    const arguments_ = ['req', '-x509', ...options, '-nodes', '-subj', '/CN=x', '-text', ...files]
    execFileSync('openssl', arguments_, { stdio: 'pipe' })
    assert.equal((await repository.host(copy.name)).certificate.keyKind, kind)
    const old = execFileSync('openssl', ['pkey', '-in', copy.key, '-traditional'], {
      stdio: 'pipe',
    }).toString()
    assert.match(old, /BEGIN (RSA|EC) PRIVATE KEY/)
    const parameters = '-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n'
    await writeFile(copy.key, pin === 'ec' ? parameters + old : old)
    assert.equal((await repository.host(copy.name)).certificate.keyKind, kind)
  }
})

test('what is wrong with a certificate is said', async () => {
  const missing = { owner: 'nobody', pin: 'nowhere' }
  await assert.rejects(
    repository.certificate(missing, { host: alice, date: DATE }),
    code('IDENTITY_MISSING', 'nobody/nowhere'),
  )
  const copy = await copyOfAlice('bad-certificate')
  for (const text of ['', 'text', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n']) {
    await writeFile(copy.certificate, text)
    await assert.rejects(
      repository.certificate(copy.name, { host: alice, date: DATE }),
      code('CERTIFICATE_INVALID', copy.certificate),
    )
  }
  await rm(copy.certificate)
  execFileSync('mkfifo', [copy.certificate])
  await assert.rejects(
    repository.certificate(copy.name, { host: alice, date: DATE }),
    code('CERTIFICATE_INVALID', 'not a regular file'),
  )
})

test('a symbolic link may lead about in the repository, not out of it', async () => {
  const copy = await copyOfAlice('links')
  const outside = join(scratch, 'outside')
  await mkdir(join(outside, 'pin'), { recursive: true })
  await copyFile(copy.certificate, join(outside, 'pin', 'cert.crt'))
  await copyFile(copy.key, join(outside, 'pin', 'private.key'))
  await chmod(join(outside, 'pin', 'private.key'), 0o600)

  await rm(copy.key)
  await symlink(repository.paths(alice).privateKey, copy.key)
  assert.ok(await repository.host(copy.name))
  await rm(copy.key)
  await symlink(join(outside, 'pin', 'private.key'), copy.key)
  await assert.rejects(repository.host(copy.name), code('KEY_INVALID', 'outside the repository'))

  await symlink(outside, join(path, 'owner-link'))
  await symlink(join(outside, 'pin'), join(path, 'copies', 'pin-link'))
  await symlink(join(path, alice.owner), join(path, 'inner-link'))
  for (const name of [
    { owner: 'owner-link', pin: 'pin' },
    { owner: 'copies', pin: 'pin-link' },
  ]) {
    assert.equal(await repository.has(name), false)
    await assert.rejects(
      repository.certificate(name, { host: alice, date: DATE }),
      code('CERTIFICATE_INVALID', 'outside the repository'),
    )
  }
  assert.equal(await repository.has({ owner: 'inner-link', pin: 'laptop' }), true)
  const listed = (await repository.list()).map(formatIdentity)
  assert.ok(listed.includes('inner-link/laptop'))
  assert.ok(!listed.includes('owner-link/pin') && !listed.includes('copies/pin-link'))
  await Promise.all(['owner-link', 'inner-link', 'copies/pin-link'].map((link) => rm(join(path, link))))
})

test('the list is of directory entries: sorted, without hidden ones, and no file is opened', async () => {
  const many = join(scratch, 'many')
  for (const name of ['b/2', 'b/1', 'a/x', '.git/objects', 'a/.stfolder', 'bad\nname/x', ' lead/x']) {
    await mkdir(join(many, name), { recursive: true })
  }
  await writeFile(join(many, 'README.md'), 'text')
  await writeFile(join(many, 'a', 'file'), 'text')
  // a named pipe would hold up for ever whoever opened it
  execFileSync('mkfifo', [join(many, 'a', 'x', 'cert.crt')])
  assert.deepEqual((await (await Repository.open(many)).list()).map(formatIdentity), ['a/x', 'b/1', 'b/2'])
})

test('a pinned certificate is trusted after it has expired, and says when that was', async () => {
  const years = 11 * 365 * 24 * 3600_000
  const certificate = await repository.certificate(bob, { host: alice, date: DATE + years })
  assert.ok(certificate.notAfter < DATE + years)
  assert.ok(certificate.notBefore < DATE)
})

test('a replaced certificate counts from the next reading on', async () => {
  const copy = await copyOfAlice('replaced')
  const one = await repository.certificate(copy.name, { host: alice, date: DATE })
  await copyFile(repository.paths(bob).certificate, copy.certificate)
  const two = await repository.certificate(copy.name, { host: alice, date: DATE })
  assert.notDeepEqual(one.fingerprint, two.fingerprint)
  assert.equal(two.pem, await readFile(repository.paths(bob).certificate, 'utf8'))
})
