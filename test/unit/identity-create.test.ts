import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { createIdentity, parseIdentity, Repository } from '../../src/identity/index.js'

const DATE = Date.now()
const DAY = 24 * 3600_000
let scratch = ''
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-create-'))
})
after(() => rm(scratch, { recursive: true, force: true }))

const mode = async (path: string) => (await stat(path)).mode & 0o777
const openssl = (...options: string[]) => execFileSync('openssl', options, { stdio: 'pipe' }).toString()

for (const key of ['rsa', 'ec'] as const) {
  test(`a new ${key} identity is one that this program and openssl take`, async () => {
    const repo = join(scratch, key)
    const name = parseIdentity('alice, CN=root/a=b+c "x" ü')
    const { fingerprint, paths } = await createIdentity(repo, name, { key, random: randomBytes, date: DATE })
    const host = await (await Repository.open(repo)).host(name)
    assert.equal(host.certificate.keyKind, key === 'rsa' ? 'rsa' : 'p256')
    if (key === 'rsa') assert.equal(host.privateKey.asymmetricKeyDetails?.modulusLength, 3072)
    assert.ok(Math.abs(host.certificate.notBefore - (DATE - DAY)) < 1000)
    assert.ok(host.certificate.notAfter > DATE + 3650 * DAY && host.certificate.notAfter < DATE + 3654 * DAY)
    assert.equal(host.certificate.x509.ca, false)
    assert.ok(host.certificate.x509.verify(host.certificate.publicKey))

    const text = openssl('x509', '-in', paths.certificate, '-noout', '-text')
    assert.match(text, /Version: 3 /)
    assert.match(text, /X509v3 Key Usage: critical/)
    assert.match(
      text,
      key === 'rsa' ? /Digital Signature, Key Encipherment/ : /Digital Signature, Key Agreement/,
    )
    assert.match(text, /URI:plexus:alice%2C%20CN%3Droot\/a%3Db%2Bc%20%22x%22%20%C3%BC\n/)
    const options = ['-noout', '-fingerprint', '-sha256', '-in', paths.certificate]
    assert.equal(openssl('x509', ...options).trim(), `sha256 Fingerprint=${fingerprint}`)
    const verified = openssl(
      'verify',
      '-x509_strict',
      '-check_ss_sig',
      '-CAfile',
      paths.certificate,
      paths.certificate,
    )
    assert.match(verified, /: OK/)
    openssl('pkey', '-in', paths.privateKey, '-check', '-noout')
  })
}

test('only its owner can read a new key or look into the directories', async () => {
  const repo = join(scratch, 'fresh', 'repo')
  const former = process.umask(0)
  try {
    const name = parseIdentity('a@b/c')
    const { paths } = await createIdentity(repo, name, { key: 'ec', random: randomBytes, date: DATE })
    assert.equal(await mode(paths.privateKey), 0o600)
    assert.equal(await mode(paths.certificate), 0o644)
    for (const directory of [repo, join(repo, 'a@b'), join(repo, 'a@b', 'c')]) {
      assert.equal(await mode(directory), 0o700)
    }
    assert.deepEqual((await readdir(join(repo, 'a@b', 'c'))).sort(), ['cert.crt', 'private.key'])
  } finally {
    process.umask(former)
  }
})

test('an identity that exists is not replaced', async () => {
  const repo = join(scratch, 'exists')
  const name = parseIdentity('a/b')
  const exists = (error: unknown) => error instanceof PlexusError && error.code === 'IDENTITY_EXISTS'
  const { paths } = await createIdentity(repo, name, { key: 'ec', random: randomBytes, date: DATE })
  const before = await readFile(paths.privateKey)
  await assert.rejects(createIdentity(repo, name, { key: 'ec', random: randomBytes, date: DATE }), exists)
  assert.deepEqual(await readFile(paths.privateKey), before)

  await mkdir(join(repo, 'peer', 'pin'), { recursive: true })
  await writeFile(join(repo, 'peer', 'pin', 'cert.crt'), 'the certificate of a peer')
  const peer = parseIdentity('peer/pin')
  await assert.rejects(createIdentity(repo, peer, { key: 'ec', random: randomBytes, date: DATE }), exists)
  assert.deepEqual(await readdir(join(repo, 'peer', 'pin')), ['cert.crt'])
})

test('of two that make one identity at once, one succeeds, and key and certificate are of the same', async () => {
  const repo = join(scratch, 'race')
  const name = parseIdentity('a/b')
  const tries = Array.from({ length: 8 }, () =>
    createIdentity(repo, name, { key: 'ec', random: randomBytes, date: DATE }),
  )
  const results = await Promise.allSettled(tries)
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results) {
    if (result.status === 'rejected') assert.equal((result.reason as PlexusError).code, 'IDENTITY_EXISTS')
  }
  assert.ok(await (await Repository.open(repo)).host(name))
  assert.deepEqual((await readdir(join(repo, 'a', 'b'))).sort(), ['cert.crt', 'private.key'])
})

test('nothing is written outside of the repository', async () => {
  const repo = join(scratch, 'confined')
  const outside = join(scratch, 'elsewhere')
  await mkdir(repo)
  await mkdir(outside)
  await symlink(outside, join(repo, 'link'))
  const name = parseIdentity('link/pin')
  await assert.rejects(
    createIdentity(repo, name, { key: 'ec', random: randomBytes, date: DATE }),
    (error) => error instanceof PlexusError && error.code === 'REPOSITORY',
  )
  assert.deepEqual(await readdir(join(outside, 'pin')).catch(() => []), [])
  await assert.rejects(
    createIdentity(repo, { owner: '..', pin: 'x' }, { key: 'ec', random: randomBytes, date: DATE }),
    (error) => error instanceof PlexusError && error.code === 'IDENTITY_NAME',
  )
})

test('serial numbers are positive and differ, and a long name fits', async () => {
  const repo = join(scratch, 'serial')
  const serials = new Set<string>()
  for (const [pin, byte] of [
    ['zero', 0],
    ['ones', 0xff],
    ['top', 0x80],
  ] as const) {
    const random = (length: number) => Buffer.alloc(length, byte)
    const name = { owner: 'o', pin }
    await createIdentity(repo, name, { key: 'ec', random, date: DATE })
    const { certificate } = await (await Repository.open(repo)).host(name)
    assert.equal(certificate.serial.subarray(0, 2).toString('hex'), '0210')
    const first = certificate.serial[2] ?? 0
    assert.ok(first >= 0x40 && first < 0x80)
    serials.add(certificate.serial.toString('hex'))
  }
  assert.equal(serials.size, 3)
  const long = { owner: 'o'.repeat(255), pin: 'ü'.repeat(127) }
  await createIdentity(repo, long, { key: 'ec', random: randomBytes, date: Date.UTC(2045, 0, 1) })
  const { certificate } = await (await Repository.open(repo)).host(long)
  assert.equal([...(/CN=(.*)/.exec(certificate.x509.subject)?.[1] ?? '')].length > 60, true)
  assert.equal(new Date(certificate.notAfter).getUTCFullYear(), 2055)
})
