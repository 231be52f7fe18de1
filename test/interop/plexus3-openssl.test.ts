import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Host, Repository } from '../../src/identity/index.js'
import { openEntity, sealEntity } from '../../src/plexus3/index.js'

const LINE = 'PLEXUS 3.0 10.99.1.2 35006 18303526018914185151'

const scratch = mkdtempSync(join(tmpdir(), 'plexus3-openssl-'))
const hosts = new Map<string, Host>()
after(() => rmSync(scratch, { recursive: true, force: true }))

const openssl = (...options: string[]) => execFileSync('openssl', options, { cwd: scratch, stdio: 'pipe' })
const certificate = (name: string) => join(scratch, 'o', name, 'cert.crt')
const key = (name: string) => join(scratch, 'o', name, 'private.key')
const KEYS = {
  alice: ['-newkey', 'rsa:2048'],
  bob: ['-newkey', 'rsa:3072'],
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
}

function host(name: string): Host {
  return hosts.get(name) ?? assert.fail(name)
}

before(async () => {
  const repository = await Repository.open(scratch)
  for (const [name, options] of Object.entries(KEYS)) {
    mkdirSync(join(scratch, 'o', name), { recursive: true })
    const files = ['-keyout', key(name), '-out', certificate(name)]
    openssl('req', '-x509', '-nodes', '-subj', `/CN=${name}`, '-days', '30', ...options, ...files)
    hosts.set(name, await repository.host({ owner: 'o', pin: name }))
  }
})

/** Signs and encrypts as a plexus 3.x peer does, with what else openssl is told. */
function opensslSeals(signing: readonly string[], cipher: string, content = LINE): string {
  writeFileSync(join(scratch, 'line'), content)
  const signer = ['-signer', certificate('alice'), '-inkey', key('alice')]
  openssl('smime', '-sign', '-nocerts', ...signer, ...signing, '-in', 'line', '-out', 'signed')
  openssl('smime', '-encrypt', cipher, '-in', 'signed', '-out', 'sealed', certificate('bob'))
  return readFileSync(join(scratch, 'sealed'), 'latin1')
}

const refusal = {
  code: 'UNSEALABLE',
  message: 'The mail of the plexus 3.x peer cannot be opened and verified.',
}

test('openssl decrypts and verifies what is sealed here', async () => {
  const sealed = await sealEntity(LINE, host('alice'), host('bob').certificate)
  assert.ok(!/[^\r]\n/.test(sealed), 'CRLF everywhere')
  writeFileSync(join(scratch, 'mail'), sealed)
  const recipient = ['-recip', certificate('bob'), '-inkey', key('bob')]
  openssl('smime', '-decrypt', ...recipient, '-in', 'mail', '-out', 'signed')
  // as the peer does between the layers
  writeFileSync(join(scratch, 'lf'), readFileSync(join(scratch, 'signed'), 'latin1').replaceAll('\r\n', '\n'))
  for (const form of ['signed', 'lf']) {
    const signer = ['-noverify', '-nointern', '-certfile', certificate('alice')]
    assert.equal(openssl('smime', '-verify', ...signer, '-in', form).toString(), LINE, form)
    const other = ['-noverify', '-nointern', '-certfile', certificate('bob')]
    assert.throws(() => openssl('smime', '-verify', ...other, '-in', form))
  }
})

test('the cipher is 3DES, the digest SHA-256, and the certificate of the signer is not sent', async () => {
  const sealed = await sealEntity(LINE, host('alice'), host('bob').certificate)
  writeFileSync(join(scratch, 'mail'), sealed)
  const shown = openssl('cms', '-cmsout', '-print', '-in', 'mail').toString()
  assert.match(shown, /des-ede3-cbc/)
  assert.match(shown, /rsaEncryption/)
  openssl('smime', '-decrypt', '-inkey', key('bob'), '-recip', certificate('bob'), '-in', 'mail', '-out', 's')
  const signed = readFileSync(join(scratch, 's'), 'latin1')
  assert.match(signed, /micalg="sha-256"/)
  openssl('smime', '-pk7out', '-in', 's', '-out', 'p7')
  const structure = openssl('asn1parse', '-in', 'p7').toString()
  assert.match(structure, /sha256/)
  assert.equal(openssl('pkcs7', '-print_certs', '-in', 'p7').toString().trim(), '')
})

for (const cipher of ['-des3', '-aes128', '-aes192', '-aes256']) {
  test(`what openssl seals with ${cipher} is opened`, () => {
    const opened = openEntity(opensslSeals([], cipher), host('bob'), host('alice').certificate)
    assert.equal(opened.text, LINE)
  })
}

test('with CRLF on the wire, and with its certificate inside, it is opened as well', () => {
  const sealed = opensslSeals(['-certfile', certificate('alice')], '-des3').replaceAll('\n', '\r\n')
  assert.equal(openEntity(sealed, host('bob'), host('alice').certificate).text, LINE)
})

test('it counts only as signed by whom the caller expects', () => {
  const sealed = opensslSeals([], '-des3')
  assert.throws(() => openEntity(sealed, host('bob'), host('bob').certificate), refusal)
  assert.throws(() => openEntity(sealed, host('alice'), host('alice').certificate), refusal)
})

for (const digest of ['md5', 'sha1']) {
  test(`a signature with ${digest} is refused`, () => {
    const sealed = opensslSeals(['-md', digest], '-des3')
    assert.throws(() => openEntity(sealed, host('bob'), host('alice').certificate), refusal)
  })
}

test('a signature without attributes, and one that is not detached, are refused', () => {
  for (const option of ['-noattr', '-nodetach']) {
    const sealed = opensslSeals([option], '-des3')
    assert.throws(() => openEntity(sealed, host('bob'), host('alice').certificate), refusal)
  }
})

test('mail that is only signed, or not even that, is refused', () => {
  opensslSeals([], '-des3')
  for (const text of [readFileSync(join(scratch, 'signed'), 'latin1'), LINE, '', '\n\n']) {
    assert.throws(() => openEntity(text, host('bob'), host('alice').certificate), refusal)
  }
})

test('an identity with an EC key is told that the dialect has no use for it', async () => {
  const sealed = opensslSeals([], '-des3')
  const refused = { code: 'DIALECT', kind: 'usage' }
  await assert.rejects(sealEntity(LINE, host('ec'), host('bob').certificate), refused)
  await assert.rejects(sealEntity(LINE, host('alice'), host('ec').certificate), refused)
  assert.throws(() => openEntity(sealed, host('ec'), host('alice').certificate), refused)
  assert.throws(() => openEntity(sealed, host('bob'), host('ec').certificate), refused)
})
