import assert from 'node:assert/strict'
import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runInviter } from '../../src/daemon/index.js'
import { checkEndpoint } from '../../src/dialect/hole.js'
import { parseCommand } from '../../src/exec/index.js'
import { createIdentity, parseIdentity, Repository } from '../../src/identity/index.js'
import { parseEndpoint } from '../../src/net/index.js'
import { readMail, sealEntity, secretOf, writeMail } from '../../src/plexus3/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { APP, DialectWorld, OURS, PeerPort, THEIRS } from '../support/dialect-world.js'
import { MemoryLog } from '../support/log.js'

const MINUTE = 60_000
const LINE = 'PLEXUS 3.0 127.0.0.1 40000 18303526018914185151'
const value = (printed: string, name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(printed)?.[1]

/** A copy of a repository whose keys are closed to others. */
async function opened(repository: string, directory: string): Promise<string> {
  const copy = join(directory, 'recorded')
  await cp(repository, copy, { recursive: true })
  for (const identity of ['alice@px.test/hosta', 'bob@px.test/hostb'])
    await chmod(join(copy, identity, 'private.key'), 0o600)
  return copy
}

let world: DialectWorld
beforeEach(async () => {
  world = await DialectWorld.create()
})
afterEach(() => world.close())

test('two sides that speak it pair, share 64 bits, and no key is told', async () => {
  const accepter = await world.accepter({ dialect: 'auto' })
  const inviter = await world.invite({ dialect: 'plexus-3' })
  await accepter.log.until(/punched in/)
  const [theirs = '', ours = ''] = [inviter, accepter.printed.join('')]
  assert.match(value(ours, 'PLEXUS_SECRET') ?? '', /^\d+$/)
  assert.equal(value(ours, 'PLEXUS_SECRET'), value(theirs, 'PLEXUS_SECRET'))
  assert.equal(value(ours, 'PLEXUS_PEER_PORT'), value(theirs, 'PLEXUS_INNER_PORT'))
  assert.equal(value(ours, 'PLEXUS_OUTER'), value(theirs, 'PLEXUS_ALIEN'))
  for (const printed of [theirs, ours]) assert.doesNotMatch(printed, /PLEXUS_KEY/)
  const kinds = world.letters.posted.map((text) => readMail(text, APP).kind)
  assert.deepEqual(kinds, ['invite', 'accept'])
})

test('a native peer and one of plexus 3.x are served side by side', async () => {
  const accepter = await world.accepter({ dialect: 'auto' })
  const other = { owner: 'carol@example.com', pin: 'desk' }
  await createIdentity(world.repository.path, other, {
    key: 'ec',
    random: systemRandom,
    date: systemClock.date(),
  })
  const native = world.settings(other, {}, new MemoryLog(), [])
  const { signal } = new AbortController()
  await Promise.all([runInviter(await native, OURS, { signal }), world.invite({ dialect: 'plexus-3' })])
  await accepter.log.until(/punched in/, 2)
  assert.equal(accepter.printed.filter((text) => text.includes('PLEXUS_KEY=')).length, 1)
  assert.equal(accepter.printed.filter((text) => !text.includes('PLEXUS_KEY=')).length, 1)
})

test('the words of an invite are taken once, across a restart too', async () => {
  const first = await world.accepter({ dialect: 'auto' })
  const mail = await world.mail(LINE)
  await world.letters.put(mail)
  await first.log.until(/invited by alice@example.com\/laptop in the plexus-3 dialect/)
  await world.letters.put(mail)
  await first.log.until(/a mail from alice@example.com\/laptop of .* was dropped: This message/)
  await first.stop()
  const second = await world.accepter({ dialect: 'auto' })
  await world.letters.put(await world.mail(LINE)) // sealed anew, the same words
  await second.log.until(/was dropped: This message was received before.*REPLAYED/)
  assert.equal(second.log.count(/invited by/), 0)
})

test('the words of an answer are taken once, across inviters', async () => {
  const inviter = async (log: MemoryLog) => {
    const controller = new AbortController()
    const inviting = world.invite({ dialect: 'plexus-3' }, log, controller)
    return { inviting: inviting.catch(() => {}), stop: () => controller.abort() }
  }
  const answer = async () => {
    const [theirs, ours] = [await world.repository.host(THEIRS), await world.repository.host(OURS)]
    const entity = await sealEntity(LINE, ours, theirs.certificate)
    return writeMail({ from: OURS, to: THEIRS, app: APP, kind: 'accept', entity })
  }
  for (const [round, said] of [/answered in the form of plexus 3.0/, /received before.*REPLAYED/].entries()) {
    const log = new MemoryLog()
    const { inviting, stop } = await inviter(log)
    await world.letters.nth(round)
    await world.letters.put(await answer())
    await log.until(said)
    stop()
    await inviting
  }
})

test('a mail that came too long ago, or has yet to come, is not even opened', async () => {
  const accepter = await world.accepter({ dialect: 'auto' })
  for (const minutes of [-11, 11]) {
    await world.letters.put(await world.mail(LINE), systemClock.date() + minutes * MINUTE)
  }
  await accepter.log.until(/it arrived 11 minutes ago.*EXPIRED/)
  await accepter.log.until(/it arrived 11 minutes from now.*EXPIRED/)
  await world.letters.put(await world.mail(LINE), systemClock.date() - 9 * MINUTE)
  await accepter.log.until(/invited by/)
})

test('who has spoken native is not answered in plexus-3 again, until a person lifts it', async () => {
  const first = await world.accepter({ dialect: 'auto' })
  await world.invite()
  await first.log.until(/punched in/)
  await world.letters.put(await world.mail(LINE))
  await first.log.until(/it has used the native protocol before.*remove its line from .*native-peers/)
  await first.stop()
  const second = await world.accepter({ dialect: 'plexus-3' })
  await world.letters.put(await world.mail(LINE))
  await second.log.until(/has used the native protocol before/)
  await writeFile(join(world.directory, `state-${OURS.pin}`, 'native-peers'), '')
  await world.letters.put(await world.mail(LINE))
  await second.log.until(/invited by/)
  assert.equal(world.letters.left.length, 2)
})

test('an accepter of the native language leaves such mail alone, and says once which flag to set', async () => {
  const accepter = await world.accepter()
  for (const line of [LINE, `${LINE}0`]) await world.letters.put(await world.mail(line))
  await accepter.log.until(/use --dialect=auto, or, for this peer only, write the word auto to .*dialect/)
  assert.equal(accepter.log.count(/--dialect=auto/), 1)
  assert.equal(world.letters.left.length, 2)
})

test('what the directory of a peer says wins over the flag, both ways', async () => {
  await world.setDialect(THEIRS, 'native\n')
  const accepter = await world.accepter({ dialect: 'auto' })
  await world.letters.put(await world.mail(LINE))
  await accepter.log.until(/ignoring a mail/)
  await world.setDialect(THEIRS, 'klingon')
  await world.letters.put(await world.mail(LINE))
  await accepter.log.until(
    /does not name a dialect. Using the native protocol with alice@example.com\/laptop/,
  )
  await world.setDialect(THEIRS, 'plexus-3')
  await assert.rejects(world.invite(), (thrown: { code?: string }) => thrown.code === 'REFUSED')
  await accepter.log.until(/refused alice@example.com\/laptop: This accepter only uses the plexus-3 dialect/)
})

test('the file of a peer makes its inviter speak plexus-3, and the word auto does not', async () => {
  const accepter = await world.accepter({ dialect: 'auto', state: 'other' })
  await world.setDialect(OURS, 'plexus-3')
  assert.doesNotMatch(await world.invite(), /PLEXUS_KEY/)
  await world.setDialect(OURS, 'auto')
  assert.match(await world.invite(), /PLEXUS_KEY=/)
  await accepter.log.until(/punched in/, 2)
})

test('a mail that nobody has signed is refused, and taken with --allow-plain and a warning', async () => {
  const strict = await world.accepter({ dialect: 'auto' })
  await world.letters.put(await world.mail(LINE, 'invite', 'plain'))
  await strict.log.until(/was dropped: It is neither sealed nor signed/)
  await strict.stop()
  const lenient = await world.accepter({ dialect: 'auto', allowPlain: true })
  await world.letters.put(await world.mail(LINE, 'invite', 'plain'))
  await lenient.log.until(/the invite of alice@example.com\/laptop is not signed/)
  assert.match(await world.letters.nth(0), /^PLEXUS 3.0 127.0.0.1 \d+ \d+\r$/m)
})

for (const [version, fields] of [
  ['3.3', (udp: string) => `${udp} 10001111 0.0.0.0:0 00000000 udp:either`],
  ['3.4', (udp: string) => `${udp} 10001111 0.0.0.0:0 direct 0.0.0.0:0 00000000 0.0.0.0:0 direct udp:either`],
] as const) {
  test(`an invite in the form of ${version} is answered in that of 3.0, at its UDP endpoint`, async () => {
    const accepter = await world.accepter({ dialect: 'plexus-3' })
    const peer = new PeerPort()
    try {
      const { address, port } = peer.endpoint
      const line = `PLEXUS ${version} 1750000000 ${fields(`${address}:${port}`)} 77`
      await world.letters.put(await world.mail(line))
      const answer = await world.read(await world.letters.nth(0))
      assert.equal(answer.version, '3.0')
      const secret = secretOf(77n, answer.puzzle)
      await peer.shake(answer.endpoint, secret)
      await accepter.log.until(/punched in/)
      assert.equal(value(accepter.printed.join(''), 'PLEXUS_SECRET'), String(secret))
      assert.equal(accepter.log.count(/form of plexus 3\.[34]|direct udp:either/), 2)
    } finally {
      await peer.port.close()
    }
  })
}

test('what cannot be opened is one line each, and soon none', async () => {
  const accepter = await world.accepter({ dialect: 'auto' })
  const good = await world.mail(LINE)
  const spoilt = good.replace(/(MII[A-Za-z0-9+/]{50})./, '$1!')
  for (let count = 0; count < 40; count++) await world.letters.put(spoilt)
  await world.letters.put(good)
  await accepter.log.until(/invited by/)
  const lines = accepter.log.lines.filter((line) => line.includes('cannot be opened and verified'))
  assert.equal(lines.filter((line) => line.startsWith('warn')).length, 30)
  assert.match(lines[0] ?? '', /a mail from alice@example.com\/laptop of \d{4}-\d\d-\d\dT.* was dropped: /)
})

test('a session in this dialect is within the bounds that hold for every other', async () => {
  const { port } = new PeerPort()
  const number = port.local(4)?.port ?? 0
  await port.close()
  const accepter = await world.accepter({
    dialect: 'auto',
    context: { bind: { address: '127.0.0.1', port: number } },
    settings: { onRepeat: 'parallel' },
  })
  for (const puzzle of [1, 2])
    await world.letters.put(await world.mail(`PLEXUS 3.0 127.0.0.1 40000 ${puzzle}`))
  await accepter.log.until(/is not answered: The port \d+ of this accepter is in use.*BUSY/)
  await assert.rejects(world.invite(), (thrown: { code?: string }) => thrown.code === 'BUSY')
  assert.equal(accepter.log.count(/invited by/), 1)
})

test('a peer has three places in this dialect too, and what others write in its name does not use up its bounds', async () => {
  const accepter = await world.accepter({ dialect: 'auto', settings: { onRepeat: 'parallel' } })
  // anybody can write a mail with this header, and more of them than the peer itself may
  const spoilt = (await world.mail(LINE)).replace(/(MII[A-Za-z0-9+/]{50})./, '$1!')
  for (let count = 0; count < 100; count++) await world.letters.put(spoilt)
  for (let puzzle = 1; puzzle <= 8; puzzle++) {
    await world.letters.put(await world.mail(`PLEXUS 3.0 127.0.0.1 40000 ${puzzle}`))
  }
  await accepter.log.until(/is not answered: 3 pairings of this identity are already in progress/, 5)
  assert.equal(accepter.log.count(/invited by/), 3)
})

test('a newer invite of a peer takes the place of its older one, in whichever language', async () => {
  const accepter = await world.accepter({ dialect: 'auto' })
  for (const puzzle of [1, 2])
    await world.letters.put(await world.mail(`PLEXUS 3.0 127.0.0.1 40000 ${puzzle}`))
  await accepter.log.until(/the pairing failed: Replaced by a newer invite of the same identity.*BUSY/)
  await world.invite()
  await accepter.log.until(/the pairing failed: Replaced by a newer invite/, 2)
})

test('what two C++ peers of 3.4.1 mailed each other is opened and understood by both roles', async () => {
  const recorded = fileURLToPath(new URL('../../../test/fixtures/plexus-3/', import.meta.url))
  const repository = await Repository.open(await opened(join(recorded, 'repo'), world.directory))
  // on the wire its line ends were CRLF
  const mail = async (kind: string) =>
    (await readFile(join(recorded, `${kind}.eml`), 'latin1')).replace(/\r?\n/g, '\r\n')
  const [alice, bob] = [parseIdentity('alice@px.test/hosta'), parseIdentity('bob@px.test/hostb')]
  const context = async (name: typeof alice) => ({
    repository,
    app: 'px18696',
    host: await repository.host(name),
  })
  const accepter = await world.accepter({ dialect: 'auto', context: await context(bob) })
  await world.letters.put(await mail('invite'))
  await accepter.log.until(
    /invited by alice@px.test\/hosta in the plexus-3 dialect, in the form of plexus 3.0/,
  )
  await accepter.log.until(
    /punching towards 10.99.1.2:35006 in the plexus-3 dialect, an address that is private/,
  )
  await accepter.stop()

  const log = new MemoryLog()
  const controller = new AbortController()
  const settings = await world.settings(
    alice,
    { dialect: 'plexus-3', context: await context(alice) },
    log,
    [],
  )
  const inviting = runInviter(settings, bob, { signal: controller.signal }).catch(() => {})
  await world.letters.nth(1)
  await world.letters.put(await mail('accept'))
  await log.until(/bob@px.test\/hostb answered in the form of plexus 3.0/)
  controller.abort()
  await inviting
})

test('a command that asks for the key is started for no such peer', async () => {
  const log = new MemoryLog()
  const command = parseCommand({ command: '/bin/true', args: '%keyfile%' }, { env: {}, log })
  const accepter = await world.accepter({ dialect: 'auto', settings: { command } })
  await world.letters.put(await world.mail(LINE))
  await accepter.log.until(/is not answered: The command uses %key%/)
})

test('an EC key is named before anything is sent', async () => {
  const name = { owner: 'carol@example.com', pin: 'desk' }
  await createIdentity(world.repository.path, name, {
    key: 'ec',
    random: systemRandom,
    date: systemClock.date(),
  })
  const { signal } = new AbortController()
  const settings = await world.settings(name, { dialect: 'plexus-3' }, new MemoryLog(), [])
  await assert.rejects(
    runInviter(settings, OURS, { signal }),
    (thrown: { code?: string; advice?: string }) => {
      assert.equal(thrown.code, 'DIALECT')
      return /RSA key/.test(thrown.advice ?? '')
    },
  )
  assert.deepEqual(world.letters.posted, [])
})

test('an accepter with an EC key says once what is missing, and leaves the mail alone', async () => {
  const name = { owner: 'carol@example.com', pin: 'desk' }
  const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
  await createIdentity(world.repository.path, name, options)
  const host = await world.repository.host(name)
  const accepter = await world.accepter({ dialect: 'auto', context: { host } })
  const mail = (await world.mail(LINE)).replace(/^To: .*$/m, 'To: desk <carol@example.com>\r')
  for (let count = 0; count < 2; count++) await world.letters.put(mail)
  assert.equal(accepter.log.count(/your identity has an EC key/), 1)
  assert.equal(world.letters.left.length, 2)
})

test('two sides that miss certificates pair in plain mail, if both allow it', async () => {
  const path = join(world.directory, 'poor')
  await cp(world.repository.path, path, { recursive: true })
  for (const name of [OURS, THEIRS])
    await rm(world.repository.paths(name).certificate.replace(world.repository.path, path))
  const poor = await Repository.open(path)
  const of = async (name: typeof OURS) => ({ repository: poor, host: await world.repository.host(name) })
  const allowPlain = true
  await assert.rejects(
    world.invite({ dialect: 'plexus-3', context: await of(THEIRS) }),
    (thrown: { code?: string }) => thrown.code === 'IDENTITY_MISSING',
  )
  const accepter = await world.accepter({ dialect: 'auto', allowPlain, context: await of(OURS) })
  const log = new MemoryLog()
  const printed = await world.invite({ dialect: 'plexus-3', allowPlain, context: await of(THEIRS) }, log)
  await accepter.log.until(/punched in/)
  assert.equal(value(printed, 'PLEXUS_SECRET'), value(accepter.printed.join(''), 'PLEXUS_SECRET'))
  for (const text of world.letters.posted) assert.match(text, /^PLEXUS 3.0 /m)
  assert.equal(
    log.count(
      /anybody on the way can read and change what it is sent|answered in a mail that nobody has signed/,
    ),
    2,
  )
})

test('a command finds the secret in its environment, and no key, not even that of its parent', async () => {
  const log = join(world.directory, 'environment')
  const command = parseCommand({ command: 'env', args: '', log }, { env: process.env, log: new MemoryLog() })
  const environment = { PATH: process.env.PATH, PLEXUS_KEY: 'of another', PLEXUS_KEY_FILE: '/of/another' }
  const accepter = await world.accepter({ dialect: 'auto', settings: { command, environment } })
  const printed = await world.invite({ dialect: 'plexus-3' })
  await accepter.log.until(/the command exited/)
  const text = await readFile(log, 'utf8')
  assert.equal(value(text, 'PLEXUS_SECRET'), value(printed, 'PLEXUS_SECRET'))
  assert.doesNotMatch(text, /PLEXUS_KEY/)
})

test('a peer is not followed to this machine or its link, and may be in a private network', () => {
  const judged = (peer: string, own: string) => {
    try {
      checkEndpoint(parseEndpoint(peer), parseEndpoint(own))
      return 'taken'
    } catch (thrown) {
      return (thrown as { code?: string }).code
    }
  }
  const own = '203.0.113.7:4000'
  for (const peer of [
    '127.0.0.1:53',
    '[::1]:53',
    '169.254.1.1:53',
    '[fe80::1]:53',
    '224.0.0.1:53',
    '0.0.0.0:53',
  ]) {
    assert.equal(judged(peer, own), 'NO_PATH', peer)
  }
  for (const peer of ['10.0.0.1:53', '[fd00::1]:53', '100.64.0.1:53', '198.51.100.1:53']) {
    assert.equal(judged(peer, own), 'taken', peer)
  }
  assert.equal(judged('127.0.0.1:53', '127.0.0.1:4000'), 'taken')
})

test('the file of the natives survives a torn line', async () => {
  const accepter = await world.accepter({ dialect: 'auto' })
  const file = join(world.directory, `state-${OURS.pin}`, 'native-peers')
  await world.invite()
  await accepter.log.until(/punched in/)
  assert.equal((await readFile(file, 'utf8')).trim(), 'alice@example.com/laptop')
  await writeFile(file, 'bob@exam')
  await world.invite()
  await accepter.log.until(/punched in/, 2)
  assert.equal(await readFile(file, 'utf8'), 'bob@exam\nalice@example.com/laptop\n')
})
