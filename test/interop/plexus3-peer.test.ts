import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createIdentity, formatIdentity, type Host, Repository } from '../../src/identity/index.js'
import { type Endpoint, silent, UdpPort } from '../../src/net/index.js'
import {
  handshake,
  openEntity,
  readMail,
  readMessage,
  sealEntity,
  secretOf,
  writeMail,
  writeMessage,
} from '../../src/plexus3/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { Plexus3Peer, plexus3Peer, plexus3PeerMissing } from '../support/plexus3-peer.js'

const ALICE = { owner: 'alice@example.com', pin: 'laptop' }
const BOB = { owner: 'bob@example.com', pin: 'server' }
const APP = 'plexus'
const TIMES = 10
/** A test is over by then whatever happens, in ms: both sides give up after 60 s. */
const LIMIT = 90_000
const skip = plexus3PeerMissing()

let scratch: string
let alice: Host
let bob: Host

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus3-peer-'))
  for (const name of [ALICE, BOB]) {
    await createIdentity(scratch, name, { key: 'rsa', random: systemRandom, date: systemClock.date() })
  }
  const repository = await Repository.open(scratch)
  alice = await repository.host(ALICE)
  bob = await repository.host(BOB)
})
after(() => rm(scratch, { recursive: true, force: true }))

/** The Python peer, who is Alice. */
function pythonPeer(
  directory: string,
  role: 'inviter' | 'accepter',
  options: readonly string[],
): Plexus3Peer {
  const names = ['--me', formatIdentity(ALICE), '--peer', formatIdentity(BOB), '--app', APP]
  const common = ['--repo', scratch, ...names, '--bind', '127.0.0.1:0', '--mail-dir', directory]
  return new Plexus3Peer(role, [...common, ...options])
}

async function post(directory: string, kind: 'invite' | 'accept', outer: Endpoint, puzzle: bigint) {
  const entity = await sealEntity(writeMessage({ endpoint: outer, puzzle }), bob, alice.certificate)
  const path = join(directory, `${kind}.eml`)
  await writeFile(`${path}.new`, writeMail({ from: BOB, to: ALICE, app: APP, kind, entity }))
  await rename(`${path}.new`, path)
}

async function fetched(directory: string, kind: 'invite' | 'accept') {
  const mail = readMail(await readFile(join(directory, `${kind}.eml`), 'latin1'), APP)
  assert.deepEqual([mail.from, mail.to, mail.kind], [ALICE, BOB, kind])
  return readMessage(openEntity(mail.entity, bob, alice.certificate).text)
}

/** One pairing with the Python peer; the role is ours. Returns whether its last flag was heard. */
async function pairing(role: 'inviter' | 'accepter', options: readonly string[] = []): Promise<boolean> {
  const directory = await mkdtemp(join(scratch, 'mail-'))
  const port = UdpPort.open({ address: '127.0.0.1' })
  const peer = pythonPeer(directory, role === 'inviter' ? 'accepter' : 'inviter', options)
  try {
    const outer = port.local(4) ?? assert.fail('not bound')
    const puzzle = randomBytes(8).readBigUInt64BE()
    if (role === 'inviter') {
      await peer.hears('waiting')
      await post(directory, 'invite', outer, puzzle)
    }
    await peer.hears('posted')
    const message = await fetched(directory, role === 'inviter' ? 'accept' : 'invite')
    if (role === 'accepter') await post(directory, 'accept', outer, puzzle)
    const secret = secretOf(puzzle, message.puzzle)
    const common = { clock: systemClock, random: systemRandom, log: silent }
    const { acknowledged } = await handshake(port, {
      ...common,
      role,
      secret,
      peer: message.endpoint,
      hops: 7,
      timeout: 60_000,
      signal: new AbortController().signal,
    })
    const paired = await peer.hears('paired')
    assert.equal(paired.secret, String(secret))
    return acknowledged
  } finally {
    await peer.close()
    await port.close()
  }
}

const all = (role: 'inviter' | 'accepter', options?: readonly string[]) =>
  Promise.all(Array.from({ length: TIMES }, () => pairing(role, options)))

for (const role of ['inviter', 'accepter'] as const) {
  const test10 = (claim: string, run: () => Promise<void>) =>
    test(`as ${role}, ${TIMES} of ${TIMES} ${claim}`, { skip, timeout: LIMIT }, run)

  test10('pairings with a plexus-3 peer', async () => {
    assert.deepEqual(await all(role), Array(TIMES).fill(true))
  })

  test10("when the peer's last datagram is lost", async () => {
    // what an accepter does not hear, it concludes from the silence of the inviter
    assert.deepEqual(await all(role, ['--lose-last']), Array(TIMES).fill(role === 'inviter'))
  })
}

test('as inviter with a peer that is done on the first valid datagram', {
  skip,
  timeout: LIMIT,
}, async () => {
  assert.equal(await pairing('inviter', ['--server']), true)
})

test('each reads what the other wrote, with a name in Unicode too', { skip }, async () => {
  const names = ['--repo', scratch, '--me', formatIdentity(ALICE), '--peer', formatIdentity(BOB)]
  const line = 'PLEXUS 3.0 2001:db8::1 4000 18446744073709551615'
  const theirs = [...names, '--app', 'ünï', '--kind', 'invite', '--message', line]
  const mail = readMail(plexus3Peer(['seal', ...theirs]).toString(), 'ünï')
  assert.equal(openEntity(mail.entity, bob, alice.certificate).text, line)

  const entity = await sealEntity(line, bob, alice.certificate)
  const ours = writeMail({ from: BOB, to: ALICE, app: 'ünï', kind: 'accept', entity })
  const opened = plexus3Peer(['open', ...names, '--app', 'ünï', '--kind', 'accept'], ours)
  assert.equal(opened.toString().trim(), line)
})
