import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemRandom } from '../../src/cli/clock.js'
import { PlexusError } from '../../src/errors/index.js'
import {
  createIdentity,
  formatHandout,
  parseCertificate,
  parseHandout,
  parseIdentity,
  Repository,
  renewIdentity,
} from '../../src/identity/index.js'
import { plexus } from '../support/cli.js'

const scratch = mkdtempSync(join(tmpdir(), 'plexus-import-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const file = (name: string) => join(scratch, name)
const read = (...names: string[]) => names.map((name) => readFileSync(file(name), 'utf8')).join('')
const openssl = (...words: string[]) => execFileSync('openssl', words, { cwd: scratch, stdio: 'pipe' })
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** `<name>.crt`, issued by `<by>.crt`, or by itself. */
function issue(name: string, by?: string, authority = false): void {
  const constraint = `basicConstraints=critical,CA:${authority ? 'TRUE' : 'FALSE'}`
  const files = ['-keyout', `${name}.key`, '-out', `${name}.crt`]
  if (by === undefined) {
    openssl('req', '-x509', ...EC, '-subj', `/CN=${name}`, ...files, '-addext', constraint)
    return
  }
  writeFileSync(file('extensions'), `${constraint}\n`)
  openssl('req', ...EC, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
  const signing = ['-CA', `${by}.crt`, '-CAkey', `${by}.key`, '-CAcreateserial', '-extfile', 'extensions']
  openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.crt`)
}

before(() => {
  issue('root', undefined, true)
  issue('middle', 'root', true)
  issue('leaf', 'middle')
  issue('stranger', undefined)
  issue('elsewhere', undefined, true)
})

const invalid = (pattern: RegExp) => (thrown: unknown) =>
  thrown instanceof PlexusError && thrown.code === 'CERTIFICATE_INVALID' && pattern.test(thrown.message)

describe('whose key is meant is told by who issued whom', () => {
  test('in a full chain, in whatever order it stands', () => {
    const leaf = parseCertificate(read('leaf.crt')).fingerprint
    for (const order of [
      ['leaf', 'middle'],
      ['middle', 'leaf'],
      ['leaf', 'middle', 'root'],
      ['root', 'middle', 'leaf'],
      ['leaf', 'leaf', 'middle'],
    ]) {
      const text = read(...order.map((name) => `${name}.crt`))
      const { certificates, authorities } = parseHandout(text, 'It')
      assert.deepEqual(
        certificates.map(({ fingerprint }) => fingerprint),
        [leaf],
      )
      assert.deepEqual(authorities.length, new Set(order).size - 1)
      // the same in cert.crt
      assert.deepEqual(parseCertificate(text).fingerprint, leaf)
    }
  })

  test('or it is refused: two that have nothing to do with each other', () => {
    for (const pair of [
      ['leaf', 'stranger'],
      ['leaf', 'elsewhere'],
      ['leaf', 'root'],
      ['stranger', 'elsewhere'],
      ['leaf', 'middle', 'stranger'],
    ]) {
      const text = read(...pair.map((name) => `${name}.crt`))
      assert.throws(() => parseHandout(text, 'It'), invalid(/two certificates/))
      assert.throws(() => parseCertificate(text, 'It'), invalid(/several certificates/))
    }
    // not even under a name
    const header = '# plexus identity: a@px.test/b\n'
    for (const pair of [
      ['leaf', 'root'],
      ['leaf', 'middle', 'stranger'],
    ])
      assert.throws(() => parseHandout(header + read(...pair.map((n) => `${n}.crt`)), 'It'), invalid(/two/))
  })

  test('or it is refused: one of them is cut off', () => {
    const [cut] = read('leaf.crt').split('-----END')
    const bent = read('leaf.crt').replace('-----END CERTIFICATE-----', '-----END CERTIFICAT-----')
    for (const broken of [cut ?? '', bent, read('leaf.crt').replace('MII', '!!!')])
      for (const text of [`${broken}\n${read('stranger.crt')}`, `${read('stranger.crt')}${broken}`]) {
        assert.throws(() => parseHandout(text, 'It'), invalid(/cannot be parsed/))
        assert.throws(() => parseCertificate(text, 'It'), invalid(/cannot be parsed/))
      }
  })

  test('the two of a rollover are one identity’s, the older one the current, in either order', async () => {
    const name = parseIdentity('alice@px.test/laptop')
    const path = file('rollover')
    const date = Date.now()
    const options = { key: 'ec', random: systemRandom } as const
    await createIdentity(path, name, { ...options, date: date - 5000 })
    const repository = await Repository.open(path)
    await renewIdentity(repository, name, { ...options, date })
    const both = await repository.certificates(name, { host: name, date })
    for (const order of [both, [...both].reverse()]) {
      const { certificates } = parseHandout(formatHandout(name, order), 'It')
      assert.deepEqual(
        certificates.map(({ fingerprint }) => fingerprint),
        both.map((one) => one.fingerprint),
      )
    }
  })
})

describe('plexus id import', () => {
  const repo = file('repo')
  const run = (...words: string[]) => plexus(['id', ...words, `--app-repo=${repo}`])
  const print = (name: string) => `--fingerprint=${parseCertificate(read(`${name}.crt`)).x509.fingerprint256}`
  const importing = (name: string, ...words: string[]) =>
    run('import', file(`${name}.crt`), '--as=peer/one', print(name), ...words)

  test('takes the leaf of a full chain alone, and says what it left out', async () => {
    writeFileSync(file('fullchain.crt'), read('leaf.crt', 'middle.crt', 'root.crt'))
    const words = ['import', file('fullchain.crt'), '--as=peer/one']
    const { code, stderr } = await run(...words, print('leaf'))
    assert.equal(code, 0, stderr)
    assert.match(stderr, /Skipped the certificate of the authority CN=middle/)
    assert.equal(existsSync(join(repo, 'peer/one/cert.next.crt')), false)
    assert.equal((await run(...words, print('middle'))).code, 0) // nothing new to be confirmed
  })

  test('with --replace shuts out what was there, for good', async () => {
    const renewed = await importing('stranger', '--replace')
    assert.equal(renewed.code, 0, renewed.stderr)
    assert.match(renewed.stderr, /No longer accepted, and revoked/)
    const repository = await Repository.open(repo)
    const peer = parseIdentity('peer/one')
    const now = await repository.certificates(peer, { host: peer, date: Date.now() })
    assert.deepEqual(
      now.map(({ fingerprint }) => fingerprint),
      [parseCertificate(read('stranger.crt')).fingerprint],
    )
    const again = await importing('leaf')
    assert.equal(again.code, 2)
    assert.match(again.stderr, /is revoked here\..*\[CERTIFICATE_REVOKED\]/)
    // nor when the file comes back by another way
    writeFileSync(join(repo, 'peer/one/cert.crt'), read('leaf.crt'))
    await assert.rejects(repository.certificate(peer, { host: peer, date: Date.now() }), {
      code: 'CERTIFICATE_REVOKED',
    })
  })

  test('a file of revoked fingerprints that cannot be read lets nobody in', async () => {
    const repository = await Repository.open(repo)
    const peer = parseIdentity('peer/one')
    writeFileSync(join(repo, 'peer/one/cert.crt'), read('stranger.crt'))
    const get = () => repository.certificate(peer, { host: peer, date: Date.now() })
    writeFileSync(repository.revokedPath, '# nobody\r\n\r\n')
    await get()
    for (const text of ['nonsense\n', 'ab:cd\n', `${'ab'.repeat(20)}\n`]) {
      writeFileSync(repository.revokedPath, text)
      await assert.rejects(get(), {
        code: 'BAD_CONFIG',
        message: /Line 1 of .*revoked is not a SHA-256 fingerprint/,
      })
    }
    const { fingerprint256 } = parseCertificate(read('stranger.crt')).x509
    for (const text of [
      fingerprint256,
      fingerprint256.replaceAll(':', ''),
      `sha256 Fingerprint=${fingerprint256} # x`,
    ]) {
      writeFileSync(repository.revokedPath, `\ufeff# them\r\n${text.toLowerCase()}\r\n`)
      await assert.rejects(get(), { code: 'CERTIFICATE_REVOKED' })
    }
  })
})
