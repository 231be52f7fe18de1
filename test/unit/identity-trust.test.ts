import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { Repository } from '../../src/identity/index.js'

const DAY = 24 * 3600_000
const scratch = mkdtempSync(join(tmpdir(), 'plexus-trust-'))
const path = join(scratch, 'repo')
const host = { owner: 'host', pin: 'one' }
/** Later than any certificate that is made below, which is valid from the second of its making. */
const now = Date.now() + 3600_000
after(() => rmSync(scratch, { recursive: true, force: true }))

const openssl = (...options: string[]) => execFileSync('openssl', options, { cwd: scratch, stdio: 'pipe' })
const file = (name: string) => join(scratch, name)
const read = (name: string) => readFileSync(file(name), 'utf8')

/** An authority of its own; `extensions` beside the defaults of openssl. */
function authority(name: string, ...options: string[]): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.crt`,
    ...options,
  )
}

/** A certificate for `name` that `by` issues, put into the repository as `peer/<name>`. */
function issue(
  name: string,
  by: string,
  options: { days?: number; digest?: string; extensions?: string } = {},
): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
  writeFileSync(file(`${name}.ext`), options.extensions ?? 'basicConstraints=CA:FALSE\n')
  const signing = [
    '-CA',
    `${by}.crt`,
    '-CAkey',
    `${by}.key`,
    '-CAcreateserial',
    `-${options.digest ?? 'sha256'}`,
  ]
  const rest = ['-days', String(options.days ?? 30), '-extfile', `${name}.ext`, '-out', `${name}.crt`]
  openssl('x509', '-req', '-in', `${name}.csr`, ...signing, ...rest)
  mkdirSync(join(path, 'peer', name), { recursive: true })
  writeFileSync(join(path, 'peer', name, 'cert.crt'), read(`${name}.crt`))
}

function trustIn(...names: string[]): void {
  mkdirSync(join(path, host.owner, host.pin), { recursive: true })
  const ca = join(path, host.owner, host.pin, 'ca.crt')
  rmSync(ca, { force: true })
  writeFileSync(ca, names.map(read).join('some text between them\n'))
}

async function certificate(name: string, date = now): Promise<void> {
  await (await Repository.open(path)).certificate({ owner: 'peer', pin: name }, { host, date })
}

const untrusted = (word: string) => (error: unknown) => {
  assert.ok(error instanceof PlexusError, String(error))
  assert.equal(error.code, 'CERTIFICATE_UNTRUSTED')
  assert.ok(error.message.includes(word), error.message)
  return true
}

authority('root')
authority('other')

test('with a ca.crt, a certificate counts that one of its authorities issued', async () => {
  issue('good', 'root')
  trustIn('root.crt')
  await certificate('good')
  trustIn('other.crt', 'root.crt')
  await certificate('good')
  trustIn('other.crt')
  await assert.rejects(certificate('good'), untrusted('not issued by'))
})

test('an authority of the same name with another key is another authority', async () => {
  issue('forged', 'other')
  openssl('req', '-x509', '-key', 'other.key', '-subj', '/CN=root', '-out', 'fake-root.crt')
  writeFileSync(file('fake-root.key'), read('other.key'))
  issue('forged', 'fake-root', { extensions: 'basicConstraints=CA:FALSE\nauthorityKeyIdentifier=none\n' })
  trustIn('root.crt')
  await assert.rejects(certificate('forged'), untrusted('not issued by'))
})

test('both the certificate and the authority have to be valid', async () => {
  issue('short', 'root', { days: 2 })
  trustIn('root.crt')
  await certificate('short')
  await assert.rejects(certificate('short', now + 3 * DAY), untrusted('expired on'))
  await assert.rejects(certificate('short', now - 3 * DAY), untrusted('not valid before'))
  authority('brief', '-days', '1')
  issue('outlives', 'brief', { days: 30 })
  trustIn('brief.crt')
  await certificate('outlives')
  await assert.rejects(certificate('outlives', now + 5 * DAY), untrusted('not valid now'))
})

test('who is no authority cannot issue', async () => {
  issue('middle', 'root')
  issue('child', 'middle')
  trustIn('root.crt', 'middle.crt')
  await assert.rejects(certificate('child'), untrusted('not issued by'))
  issue('signless', 'root', {
    extensions: 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n',
  })
  issue('grandchild', 'signless')
  trustIn('root.crt', 'signless.crt')
  await assert.rejects(certificate('grandchild'), untrusted('not issued by'))
})

test('an intermediate authority counts when it is in the bundle', async () => {
  issue('intermediate', 'root', { extensions: 'basicConstraints=critical,CA:TRUE\n' })
  issue('deep', 'intermediate')
  trustIn('root.crt')
  await assert.rejects(certificate('deep'), untrusted('not issued by'))
  trustIn('root.crt', 'intermediate.crt')
  await certificate('deep')
})

test('a weak digest and an unknown critical extension are refused', async () => {
  trustIn('root.crt')
  issue('weak', 'root', { digest: 'sha1' })
  await assert.rejects(certificate('weak'), untrusted('weak or unknown'))
  issue('strange', 'root', { extensions: '1.2.3.4=critical,DER:0500\n' })
  await assert.rejects(certificate('strange'), untrusted('critical'))
  authority('narrow', '-addext', 'nameConstraints=critical,permitted;email:example.com')
  issue('outside', 'narrow')
  trustIn('narrow.crt')
  await assert.rejects(certificate('outside'), untrusted('critical'))
})

test('a ca.crt that cannot be read is never none', async () => {
  issue('pinned', 'root')
  const ca = join(path, host.owner, host.pin, 'ca.crt')
  trustIn('other.crt')
  rmSync(ca)
  await certificate('pinned')
  symlinkSync('nowhere', ca)
  await assert.rejects(certificate('pinned'), untrusted('cannot be followed'))
  rmSync(ca)
  symlinkSync(file('root.crt'), ca)
  await assert.rejects(certificate('pinned'), untrusted('outside the repository'))
  rmSync(ca)
  writeFileSync(ca, '')
  await assert.rejects(
    certificate('pinned'),
    (error) => error instanceof PlexusError && error.code === 'CERTIFICATE_INVALID',
  )
  chmodSync(ca, 0o600)
  rmSync(ca)
  mkdirSync(ca)
  await assert.rejects(certificate('pinned'), untrusted('not a regular file'))
  rmSync(ca, { recursive: true })
})
