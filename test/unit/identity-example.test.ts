import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { PlexusError } from '../../src/errors/index.js'
import { formatIdentity, parseIdentity, Repository } from '../../src/identity/index.js'

// seen from dist/test/unit
const path = fileURLToPath(new URL('../../../apprepo.example', import.meta.url))

test('the example repository opens and has two identities, one of each kind of key', async () => {
  const repository = await Repository.open(path)
  const names = await repository.list()
  assert.deepEqual(names.map(formatIdentity), ['alice@example.com/laptop', 'bob@example.com/server'])
  const [alice, bob] = names.map((name) =>
    repository.certificate(name, { host: parseIdentity('alice@example.com/laptop'), date: Date.now() }),
  )
  assert.equal((await alice)?.keyKind, 'rsa')
  assert.equal((await bob)?.keyKind, 'p256')
})

test('the example repository has no private key, and says so when one is asked for', async () => {
  const files = (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  )
  assert.deepEqual(files.map((entry) => entry.name).sort(), ['README.md', 'cert.crt', 'cert.crt'])
  for (const entry of files) {
    assert.doesNotMatch(
      await readFile(join(entry.parentPath, entry.name), 'utf8'),
      /BEGIN [A-Z ]*PRIVATE KEY/,
    )
  }
  await assert.rejects(
    (await Repository.open(path)).host(parseIdentity('alice@example.com/laptop')),
    (error) => error instanceof PlexusError && error.code === 'KEY_MISSING',
  )
})
