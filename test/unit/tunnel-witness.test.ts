import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import {
  createIdentity,
  finishRollover,
  parseIdentity,
  Repository,
  renewIdentity,
} from '../../src/identity/index.js'
import { TokenBucket } from '../../src/net/index.js'
import { IdentityWitness } from '../../src/sealing/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import type { TunnelOptions } from '../../src/wormhole/index.js'
import { MemoryLog } from '../support/log.js'
import { tunnelEnds } from '../support/tunnel-ends.js'

const ALICE = parseIdentity('alice@px.test/laptop')
const BOB = parseIdentity('bob@px.test/server')
const STATEMENT = Buffer.from('plexus 4 tunnel proof initiator\0 and what only two know')

/** What is waited for takes no time. */
const HASTY = { ...systemClock, timer: (_: number, done: () => void) => systemClock.timer(1, done) }

/** Two machines, each with a repository of its own. */
class Machines {
  readonly directory: string
  readonly alice: Repository
  readonly bob: Repository

  private constructor(directory: string, alice: Repository, bob: Repository) {
    this.directory = directory
    this.alice = alice
    this.bob = bob
  }

  static async create(key: 'ec' | 'rsa' = 'ec'): Promise<Machines> {
    const directory = await mkdtemp(join(tmpdir(), 'plexus-witness-'))
    const made = async (name: string, own: typeof ALICE, peer: typeof ALICE) => {
      const path = join(directory, name)
      const options = { key, random: systemRandom, date: systemClock.date() }
      await createIdentity(path, own, options)
      // a directory for the peer, whose certificate comes below
      await createIdentity(path, peer, { ...options, key: 'ec' })
      return await Repository.open(path)
    }
    const alice = await made('alice', ALICE, BOB)
    const bob = await made('bob', BOB, ALICE)
    const machines = new Machines(directory, alice, bob)
    await machines.exchange()
    return machines
  }

  /** Each machine has the certificate that the other one has now, and no key of it. */
  async exchange(): Promise<void> {
    for (const [from, to, name] of [
      [this.alice, this.bob, ALICE],
      [this.bob, this.alice, BOB],
    ] as const) {
      await copyFile(from.paths(name).certificate, to.paths(name).certificate)
      await rm(to.paths(name).privateKey, { force: true })
    }
  }

  async witness(own: 'alice' | 'bob', log = new MemoryLog(), onproven?: (fingerprint: Buffer) => void) {
    const [repository, name, peer] = own === 'alice' ? [this.alice, ALICE, BOB] : [this.bob, BOB, ALICE]
    const host = await repository.host(name)
    return new IdentityWitness({ repository, host, peer, clock: HASTY, log }, onproven)
  }

  close(): Promise<void> {
    return rm(this.directory, { recursive: true, force: true })
  }
}

describe('a proof of identity', () => {
  let machines: Machines
  let alice: IdentityWitness
  let bob: IdentityWitness
  const log = new MemoryLog()
  let proven: Buffer[]

  beforeEach(async () => {
    machines = await Machines.create()
    proven = []
    alice = await machines.witness('alice', log)
    bob = await machines.witness('bob', log, (fingerprint) => proven.push(fingerprint))
  })
  const close = () => machines.close()
  /** What bob says of alice's proof, by its code. */
  const verdict = async (statement = STATEMENT, signed = STATEMENT) => {
    const judged = await bob.judge(statement, await alice.sign(signed))
    return judged.is === 'good' ? 'good' : `${judged.is} ${judged.error.code}`
  }

  test('is good in both directions, with each kind of key, and tells by which certificate', async () => {
    for (const key of ['ec', 'rsa'] as const) {
      const other = await Machines.create(key)
      const [one, two] = [await other.witness('alice'), await other.witness('bob')]
      assert.deepEqual(await two.judge(STATEMENT, await one.sign(STATEMENT)), { is: 'good' })
      assert.deepEqual(await one.judge(STATEMENT, await two.sign(STATEMENT)), { is: 'good' })
      await other.close()
    }
    assert.equal(await verdict(), 'good')
    assert.deepEqual(proven, [(await machines.alice.host(ALICE)).certificate.fingerprint])
    await close()
  })

  test('of something else, by another key or of nothing is none', async () => {
    assert.equal(await verdict(STATEMENT, Buffer.from('another tunnel')), 'bad SIGNATURE')
    const [signed] = await alice.sign(STATEMENT)
    const [other] = await bob.sign(STATEMENT)
    assert.ok(signed && other)
    const stolen = { fingerprint: signed.fingerprint, signature: other.signature }
    const none = { fingerprint: signed.fingerprint, signature: Buffer.alloc(0) }
    const noise = { fingerprint: signed.fingerprint, signature: randomBytes(71) }
    for (const forged of [stolen, none, noise]) {
      const judged = await bob.judge(STATEMENT, [forged])
      assert.ok(judged.is === 'bad' && judged.error.code === 'SIGNATURE')
    }
    // one's own proof, sent back
    const mirrored = await bob.judge(STATEMENT, [other])
    assert.ok(mirrored.is === 'bad' && mirrored.error.code === 'IDENTITY_MISSING')
    assert.deepEqual(proven, [])
    await close()
  })

  test('is judged by the repository as it is now', async () => {
    assert.equal(await verdict(), 'good')
    const { certificate } = await machines.alice.host(ALICE)
    await writeFile(machines.bob.revokedPath, `${certificate.fingerprint.toString('hex')}\n`)
    assert.equal(await verdict(), 'bad CERTIFICATE_REVOKED')
    await rm(machines.bob.revokedPath)
    assert.equal(await verdict(), 'good')
    // another certificate in its place
    await copyFile(machines.bob.paths(BOB).certificate, machines.bob.paths(ALICE).certificate)
    assert.equal(await verdict(), 'bad IDENTITY_MISSING')
    await machines.exchange()
    // an authority that has not issued it
    await copyFile(machines.bob.paths(BOB).certificate, machines.bob.paths(BOB).ca)
    assert.equal(await verdict(), 'bad CERTIFICATE_UNTRUSTED')
    await rm(machines.bob.paths(BOB).ca)
    await rm(join(machines.bob.path, ALICE.owner), { recursive: true })
    assert.equal(await verdict(), 'bad IDENTITY_MISSING')
    await close()
  })

  test('is not judged while the whole repository is away', async () => {
    await rename(machines.bob.path, `${machines.bob.path}.away`)
    assert.match(await verdict(), /^unclear /)
    await rename(`${machines.bob.path}.away`, machines.bob.path)
    assert.equal(await verdict(), 'good')
    await close()
  })

  test('is made with the key in memory when the file cannot be used any more, and the log says so', async () => {
    const { privateKey } = machines.alice.paths(ALICE)
    const { privateKey: key } = await machines.alice.host(ALICE)
    const locked = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' })
    await writeFile(privateKey, locked, { mode: 0o600 })
    assert.equal(await verdict(), 'good')
    assert.ok(log.count(/warn your identity cannot be reloaded.*protected by a passphrase/) > 0)
    await rm(privateKey)
    assert.equal(await verdict(), 'good')
    assert.ok(log.count(/warn your identity cannot be reloaded.*There is no private key/) > 0)
    await close()
  })

  test('during a change of keys is good for whoever has either certificate', async () => {
    const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
    const old = (await machines.alice.host(ALICE)).certificate.fingerprint
    await renewIdentity(machines.alice, ALICE, options)
    assert.equal((await alice.sign(STATEMENT)).length, 2)
    assert.equal(await verdict(), 'good')
    // bob has the new one instead
    await copyFile(machines.alice.paths(ALICE).nextCertificate, machines.bob.paths(ALICE).certificate)
    assert.equal(await verdict(), 'good')
    await finishRollover(machines.alice, ALICE)
    assert.equal(await verdict(), 'good')
    const now = (await machines.alice.host(ALICE)).certificate.fingerprint
    assert.deepEqual(proven, [old, now, now])
    // whoever has both goes by the one that stays
    await renewIdentity(machines.alice, ALICE, options)
    for (const name of ['certificate', 'nextCertificate'] as const)
      await copyFile(machines.alice.paths(ALICE)[name], machines.bob.paths(ALICE)[name])
    assert.equal(await verdict(), 'good')
    const next = (await machines.alice.host(ALICE)).next?.certificate.fingerprint
    assert.deepEqual(proven.at(-1), next)
    await close()
  })
})

describe('a tunnel between two identities', () => {
  let machines: Machines

  before(async () => {
    machines = await Machines.create()
  })
  after(() => machines.close())

  /** Proofs and renewals one after the other. */
  const often: Partial<TunnelOptions> = {
    renewalTimes: { every: 40, datagrams: 2 ** 32, grace: 60_000 },
    proofTimes: { every: 60, grace: 60_000 },
    upkeepBudget: new TokenBucket({ burst: 1e6, rate: 1e6 }, 0),
  }
  const ends = async (logs: { alice: MemoryLog; bob: MemoryLog }, bob: Partial<TunnelOptions> = {}) => {
    const witnesses = {
      initiator: await machines.witness('alice', logs.alice),
      responder: await machines.witness('bob', logs.bob),
    }
    return await tunnelEnds({
      each: (side) => ({
        ...often,
        log: side === 'initiator' ? logs.alice : logs.bob,
        witness: witnesses[side],
        ...(side === 'responder' ? bob : {}),
      }),
    })
  }

  test('under full load both ways renews and proves, again and again, and loses no byte', async () => {
    const logs = { alice: new MemoryLog(), bob: new MemoryLog() }
    const { initiator, responder, close } = await ends(logs)
    await Promise.all([initiator.ready, responder.ready])
    responder.onstream((stream) => stream.pipe(stream))
    const enough = () =>
      [logs.alice, logs.bob].every(
        (log) => log.count(/the keys were renewed/) >= 10 && log.count(/has proven its identity again/) >= 5,
      )
    const stream = initiator.open(Buffer.from('echo'))
    const block = randomBytes(1 << 20)
    let [sent, echoed, wrong] = [0, 0, 0]
    const read = (async () => {
      for await (const piece of stream) {
        let at = 0
        while (at < piece.length) {
          const place = (echoed + at) % block.length
          const length = Math.min(piece.length - at, block.length - place)
          if (!block.subarray(place, place + length).equals(piece.subarray(at, at + length))) wrong++
          at += length
        }
        echoed += piece.length
      }
    })()
    while (!enough() || sent < 8 << 20) {
      sent += block.length
      if (!stream.write(block)) await new Promise((resolve) => stream.once('drain', resolve))
    }
    stream.end()
    await read
    assert.deepEqual({ echoed, wrong }, { echoed: sent, wrong: 0 })
    await close()
  })

  test('ends when the peer proves itself and is revoked, and both logs say why', async () => {
    const logs = { alice: new MemoryLog(), bob: new MemoryLog() }
    const { initiator, responder, close } = await ends(logs)
    await Promise.all([initiator.ready, responder.ready])
    await logs.bob.until(/has proven its identity again/)
    const { certificate } = await machines.alice.host(ALICE)
    await writeFile(machines.bob.revokedPath, `${certificate.fingerprint.toString('hex')}\n`)
    const over = await responder.over
    assert.equal(over.kind, 'failed')
    assert.match(over.error?.message ?? '', /^The certificate .*alice@px.test\/laptop.* is revoked\.$/)
    assert.equal((await initiator.over).kind, 'peer-closed')
    const told = /info the peer ended the tunnel and said: The proof of your identity was not accepted\./
    assert.equal(logs.alice.count(told), 1)
    await rm(machines.bob.revokedPath)
    await close()
  })

  test('says so when the clocks have come apart, and goes on', async () => {
    const logs = { alice: new MemoryLog(), bob: new MemoryLog() }
    const clock = { ...systemClock, date: () => systemClock.date() + 3_600_000 }
    const { initiator, responder, close } = await ends(logs, { clock })
    await Promise.all([initiator.ready, responder.ready])
    await logs.alice.until(/warn The peer's clock is 60 min ahead of this one/)
    await logs.bob.until(/warn The peer's clock is 60 min behind this one/)
    await logs.bob.until(/has proven its identity again/, 2)
    await close()
  })

  test('an identity that cannot be proven just now is tried again, and the log says why', async () => {
    const logs = { alice: new MemoryLog(), bob: new MemoryLog() }
    const witness = {
      sign: () => Promise.reject(new Error('the token was pulled out')),
      judge: async () => ({ is: 'good' as const }),
    }
    const { initiator, responder, close } = await ends(logs, {
      witness,
      renewalTimes: { every: 40, datagrams: 2 ** 32, grace: 60_000 },
    })
    await Promise.all([initiator.ready, responder.ready])
    await logs.bob.until(/warn your identity cannot be proven again to the peer: .*pulled out.* Retrying\./)
    await close()
    assert.equal(logs.bob.count(/cannot be proven again/), 1)
  })
})
