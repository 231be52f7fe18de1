import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { type Host, Repository } from '../../src/identity/index.js'
import { seal, unseal } from '../../src/sealing/index.js'

/** The keys that an identity may have, as openssl makes them. */
const KEYS = {
  rsa2048: ['-newkey', 'rsa:2048'],
  rsa3072: ['-newkey', 'rsa:3072'],
  rsa4096: ['-newkey', 'rsa:4096'],
  p256: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
} as const
const NAMES = Object.keys(KEYS) as (keyof typeof KEYS)[]

const scratch = mkdtempSync(join(tmpdir(), 'plexus-openssl-'))
const hosts = new Map<string, Host>()
after(() => rmSync(scratch, { recursive: true, force: true }))

const openssl = (...options: string[]) => execFileSync('openssl', options, { cwd: scratch, stdio: 'pipe' })
const certificate = (name: string) => join(scratch, 'openssl', name, 'cert.crt')
const key = (name: string) => join(scratch, 'openssl', name, 'private.key')
const content = Buffer.from('not text: \0\xff\r\n\n, and a line that is long enough to matter', 'latin1')
writeFileSync(join(scratch, 'content'), content)

function host(name: string): Host {
  const found = hosts.get(name)
  assert.ok(found, name)
  return found
}

before(async () => {
  const repository = await Repository.open(scratch)
  for (const name of NAMES) {
    mkdirSync(join(scratch, 'openssl', name), { recursive: true })
    const subject = ['-subj', `/C=DE/O=Ünï/CN=${name}`, '-utf8', '-days', '30']
    openssl(
      'req',
      '-x509',
      ...KEYS[name],
      '-nodes',
      ...subject,
      '-keyout',
      key(name),
      '-out',
      certificate(name),
    )
    hosts.set(name, await repository.host({ owner: 'openssl', pin: name }))
  }
})

/** `openssl cms` opens the envelope and then the signature: two commands, as a user would type them. */
function opensslOpens(sealed: Buffer, from: string, to: string): Buffer {
  writeFileSync(join(scratch, 'sealed.der'), sealed)
  const recipient = ['-recip', certificate(to), '-inkey', key(to)]
  openssl(
    'cms',
    '-decrypt',
    '-inform',
    'DER',
    '-in',
    'sealed.der',
    ...recipient,
    '-binary',
    '-out',
    'signed.der',
  )
  const signer = ['-noverify', '-nointern', '-certfile', certificate(from)]
  openssl('cms', '-verify', '-inform', 'DER', '-in', 'signed.der', ...signer, '-binary', '-out', 'opened')
  return readFileSync(join(scratch, 'opened'))
}

function opensslSigns(from: string, ...options: string[]): void {
  const signer = ['-signer', certificate(from), '-inkey', key(from), '-in', 'content', '-out', 'signed.der']
  openssl('cms', '-sign', '-nodetach', '-nocerts', '-binary', '-outform', 'DER', ...signer, ...options)
}

function opensslSeals(to: string, ...options: string[]): Buffer {
  const oaep = ['-keyopt', 'rsa_padding_mode:oaep', '-keyopt', 'rsa_oaep_md:sha256']
  const recipient = [
    '-recip',
    certificate(to),
    ...(to.startsWith('rsa') ? oaep : ['-keyopt', 'ecdh_kdf_md:sha256']),
  ]
  const form = ['-binary', '-outform', 'DER', '-in', 'signed.der', '-out', 'sealed.der']
  openssl('cms', '-encrypt', '-aes-256-gcm', ...form, ...recipient, ...options)
  return readFileSync(join(scratch, 'sealed.der'))
}

async function weOpen(sealed: Buffer, from: string, to: string): Promise<void> {
  const opened = await unseal(sealed, host(to))
  assert.deepEqual(opened.content, content)
  opened.verify(host(from).certificate)
  for (const other of NAMES.filter((name) => name !== from)) {
    assert.throws(
      () => opened.verify(host(other).certificate),
      (error) => error instanceof PlexusError && error.code === 'SIGNATURE',
    )
  }
}

for (const from of NAMES) {
  test(`openssl opens what ${from} sealed for any key`, async () => {
    for (const to of NAMES) {
      const sealed = await seal(content, host(from), host(to).certificate)
      assert.deepEqual(opensslOpens(sealed, from, to), content, `${from} to ${to}`)
    }
  })

  test(`what openssl sealed as ${from} for any key is opened here`, async () => {
    opensslSigns(from)
    for (const to of NAMES) await weOpen(opensslSeals(to), from, to)
  })
}

test('openssl finds the same fault with a signer that is somebody else', async () => {
  const sealed = await seal(content, host('p256'), host('rsa2048').certificate)
  assert.throws(() => opensslOpens(sealed, 'p384', 'rsa2048'), /signer certificate not found/)
})

for (const from of ['rsa2048', 'rsa3072', 'rsa4096'] as const) {
  test(`PSS signatures of ${from} verify, whatever the length of their salt`, async () => {
    for (const length of ['digest', 'max', '0']) {
      opensslSigns(from, '-keyopt', 'rsa_padding_mode:pss', '-keyopt', `rsa_pss_saltlen:${length}`)
      await weOpen(opensslSeals('p256'), from, 'p256')
    }
  })
}

test('what openssl writes in BER, with indefinite lengths and strings in pieces, is opened', async () => {
  const large = Buffer.alloc(5000, 'pieces ')
  writeFileSync(join(scratch, 'content'), large)
  try {
    for (const [from, to] of [
      ['p256', 'rsa2048'],
      ['rsa3072', 'p384'],
    ] as const) {
      opensslSigns(from, '-stream')
      const sealed = opensslSeals(to, '-stream')
      assert.equal(sealed[1], 0x80, 'an indefinite length')
      const opened = await unseal(sealed, host(to))
      assert.deepEqual(opened.content, large)
      opened.verify(host(from).certificate)
    }
  } finally {
    writeFileSync(join(scratch, 'content'), content)
  }
})

test('certificates named by their key identifier are found', async () => {
  for (const [from, to] of [
    ['p256', 'rsa2048'],
    ['rsa2048', 'p256'],
  ] as const) {
    opensslSigns(from, '-keyid')
    await weOpen(opensslSeals(to, '-keyid'), from, to)
  }
})

test('stronger digests are taken', async () => {
  for (const from of ['rsa2048', 'p256', 'p384'] as const) {
    for (const digest of ['sha384', 'sha512']) {
      opensslSigns(from, '-md', digest)
      await weOpen(opensslSeals('p256', '-keyopt', 'ecdh_kdf_md:sha512'), from, 'p256')
    }
  }
})

test('certificates in the message are neither needed nor believed', async () => {
  const signer = [
    '-signer',
    certificate('p384'),
    '-inkey',
    key('p384'),
    '-in',
    'content',
    '-out',
    'signed.der',
  ]
  openssl('cms', '-sign', '-nodetach', '-binary', '-outform', 'DER', ...signer)
  await weOpen(opensslSeals('rsa2048'), 'p384', 'rsa2048')
})

test('what openssl does by default and is too weak, or is no such message, is refused', async () => {
  const refused = async (sealed: Buffer, to: string) =>
    assert.rejects(
      unseal(sealed, host(to)),
      (error) => error instanceof PlexusError && error.code === 'MALFORMED',
    )
  const form = ['-binary', '-outform', 'DER', '-in', 'signed.der', '-out', 'sealed.der']
  const encrypt = (...options: string[]) => {
    openssl('cms', '-encrypt', ...form, ...options)
    return readFileSync(join(scratch, 'sealed.der'))
  }
  opensslSigns('p256')
  await refused(encrypt('-aes-256-gcm', '-recip', certificate('rsa2048')), 'rsa2048') // PKCS#1 v1.5
  await refused(encrypt('-aes-256-gcm', '-recip', certificate('p256')), 'p256') // a KDF with SHA-1
  await refused(
    encrypt('-aes-256-cbc', '-recip', certificate('p256'), '-keyopt', 'ecdh_kdf_md:sha256'),
    'p256',
  )
  await refused(
    encrypt('-aes-128-gcm', '-recip', certificate('p256'), '-keyopt', 'ecdh_kdf_md:sha256'),
    'p256',
  )
  await refused(readFileSync(join(scratch, 'signed.der')), 'p256')
  const both = ['-recip', certificate('p256'), '-keyopt', 'ecdh_kdf_md:sha256', '-recip', certificate('p384')]
  await refused(encrypt('-aes-256-gcm', ...both, '-keyopt', 'ecdh_kdf_md:sha256'), 'p256') // two recipients
  opensslSigns('p256', '-noattr')
  await refused(opensslSeals('p256'), 'p256')
  opensslSigns('p256', '-signer', certificate('p384'), '-inkey', key('p384')) // two signers
  await refused(opensslSeals('p256'), 'p256')
})

test('a signature with SHA-1 is refused', async () => {
  opensslSigns('rsa2048', '-md', 'sha1')
  const opened = await unseal(opensslSeals('p256'), host('p256'))
  assert.throws(
    () => opened.verify(host('rsa2048').certificate),
    (error) => error instanceof PlexusError && error.code === 'SIGNATURE' && error.message.includes('weak'),
  )
})
