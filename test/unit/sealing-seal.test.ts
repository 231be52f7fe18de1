import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type ErrorCode, PlexusError } from '../../src/errors/index.js'
import { createIdentity, der, type Host, Repository } from '../../src/identity/index.js'
import { CAN_KEM, encodeMessage } from '../../src/pairing/message.js'
import { NO_HINT } from '../../src/punch/index.js'
import { envelop, openEnvelope } from '../../src/sealing/envelope.js'
import { KEM_KEY, MAX_SEALED, seal, unseal } from '../../src/sealing/index.js'
import { signContent } from '../../src/sealing/signed.js'

const content = Buffer.from('who, to whom, which application: \0\xff and \r\n as they are', 'latin1')
let scratch = ''
const hosts: Record<string, Host> = {}
const host = (name: string): Host => {
  const found = hosts[name]
  assert.ok(found, name)
  return found
}

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'plexus-seal-'))
  for (const [pin, key] of [
    ['rsa', 'rsa'],
    ['ec', 'ec'],
    ['other', 'ec'],
    ['other-rsa', 'rsa'],
  ] as const) {
    await createIdentity(scratch, { owner: 'o', pin }, { key, random: randomBytes, date: Date.now() })
    hosts[pin] = await (await Repository.open(scratch)).host({ owner: 'o', pin })
  }
})
after(() => rm(scratch, { recursive: true, force: true }))

const code =
  (...expected: ErrorCode[]) =>
  (error: unknown) => {
    assert.ok(error instanceof PlexusError, String(error))
    assert.ok(expected.includes(error.code), `${error.code}: ${error.message}`)
    return true
  }

for (const from of ['rsa', 'ec']) {
  for (const to of ['rsa', 'ec']) {
    test(`what ${from} seals for ${to} opens there, octet for octet, and names its signer`, async () => {
      for (const octets of [content, Buffer.alloc(0), randomBytes(6000)]) {
        const opened = await unseal(await seal(octets, host(from), host(to).certificate), host(to))
        assert.deepEqual(opened.content, octets)
        opened.verify(host(from).certificate)
        assert.throws(() => opened.verify(host(to === from ? 'other' : to).certificate), code('SIGNATURE'))
        assert.throws(() => opened.verify(host('other').certificate), code('SIGNATURE'))
      }
    })
  }
}

test('a message for somebody else does not open, and every failure to open reads the same', async () => {
  const errors: unknown[] = []
  const collect = (promise: Promise<unknown>) => assert.rejects(promise, (error) => errors.push(error) > 0)
  for (const [to, not] of [
    ['rsa', 'other-rsa'],
    ['ec', 'other'],
    ['rsa', 'ec'],
    ['ec', 'rsa'],
  ] as const) {
    const sealed = await seal(content, host('other'), host(to).certificate)
    await collect(unseal(sealed, host(not)))
    // named as the recipient, but without the key
    await collect(unseal(sealed, { ...host(not), certificate: host(to).certificate }))
    const tampered = Buffer.from(sealed)
    tampered[tampered.length - 1] = (tampered.at(-1) ?? 0) ^ 1 // the tag
    await collect(unseal(tampered, host(to)))
    const body = Buffer.from(sealed)
    const at = body.length - 40 // the encrypted content
    body[at] = (body[at] ?? 0) ^ 1
    await collect(unseal(body, host(to)))
  }
  for (const error of errors) {
    assert.ok(error instanceof PlexusError)
    assert.equal(error.code, 'UNSEALABLE')
    assert.equal(error.message, 'The message cannot be opened with the key of this identity.')
    assert.equal(error.cause, undefined)
  }
  assert.equal(errors.length, 16)
})

for (const to of ['rsa', 'ec']) {
  test(`no octet of a message to ${to} can be changed without notice`, async () => {
    const sealed = await seal(content, host('ec'), host(to).certificate)
    const recipient = host(to)
    for (let at = 0; at < sealed.length; at++) {
      const mutated = Buffer.from(sealed)
      mutated[at] = (mutated[at] ?? 0) ^ (1 << (at % 8))
      await assert.rejects(unseal(mutated, recipient), code('MALFORMED', 'UNSEALABLE'), `octet ${at}`)
    }
  })
}

test('a message cut short or with something after it is refused', async () => {
  const sealed = await seal(content, host('rsa'), host('ec').certificate)
  for (let length = 0; length < sealed.length; length++) {
    await assert.rejects(
      unseal(sealed.subarray(0, length), host('ec')),
      code('MALFORMED'),
      `${length} octets`,
    )
  }
  await assert.rejects(unseal(Buffer.concat([sealed, Buffer.of(0)]), host('ec')), code('MALFORMED'))
  await assert.rejects(unseal(Buffer.concat([sealed, sealed]), host('ec')), code('MALFORMED'))
})

test('no octet of the signed layer can be changed without notice', async () => {
  const recipient = host('ec')
  for (const from of ['rsa', 'ec']) {
    const signed = await signContent(content, host(from))
    for (let at = 0; at < signed.length; at++) {
      const mutated = Buffer.from(signed)
      mutated[at] = (mutated[at] ?? 0) ^ (1 << (at % 8))
      const attempt = async () => {
        const opened = await unseal(envelop(mutated, recipient.certificate), recipient)
        opened.verify(host(from).certificate)
      }
      await assert.rejects(attempt(), code('MALFORMED', 'SIGNATURE'), `${from}, octet ${at}`)
    }
  }
})

/** A random generator that a failure can be repeated with (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

function mutate(original: Buffer, next: (below: number) => number): Buffer {
  let bytes = Buffer.from(original)
  for (let count = 1 + next(4); count > 0; count--) {
    const at = next(bytes.length)
    switch (next(6)) {
      case 0:
        bytes[at] = next(256)
        break
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << next(8))
        break
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + next(8))])
        break
      case 3: {
        const piece = bytes.subarray(next(bytes.length)).subarray(0, next(64))
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
        break
      }
      case 4:
        bytes[at] = [0x00, 0x30, 0x31, 0x80, 0x84, 0xa0, 0xff, 0x24][next(8)] ?? 0
        break
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(0x30, 0x80), bytes.subarray(at)])
    }
    if (bytes.length === 0) return Buffer.of(0)
  }
  return bytes
}

test('20,000 random mutations of both layers end in a named refusal, or changed nothing', async () => {
  const recipient = host('ec')
  const signer = host('other')
  const sealed = await seal(content, signer, recipient.certificate)
  const signed = await signContent(content, signer)
  const next = generator(0x706c7875)
  const seen = { refused: 0, unchanged: 0 }
  for (let round = 0; round < 20_000; round++) {
    const outside = round % 2 === 0
    const bytes = outside ? mutate(sealed, next) : envelop(mutate(signed, next), recipient.certificate)
    try {
      const opened = await unseal(bytes, recipient)
      opened.verify(signer.certificate)
      // another encoding of the same, such as an indefinite length, is the same message
      assert.deepEqual(opened.content, content, `round ${round}`)
      seen.unchanged++
    } catch (error) {
      code('MALFORMED', 'UNSEALABLE', 'SIGNATURE')(error)
      seen.refused++
    }
  }
  assert.ok(seen.refused > 19_000, JSON.stringify(seen))
})

test('random octets, deep nesting and large messages are refused', async () => {
  for (let round = 0; round < 2_000; round++) {
    await assert.rejects(unseal(randomBytes(round % 600), host('ec')), code('MALFORMED'))
  }
  const depths = [
    Buffer.alloc(60_000, Buffer.of(0x30, 0x80)),
    Buffer.alloc(60_000, 0x24),
    Buffer.alloc(60_000, 0x30),
  ]
  for (const deep of depths) await assert.rejects(unseal(deep, host('ec')), code('MALFORMED'))
  await assert.rejects(unseal(Buffer.alloc(MAX_SEALED + 1), host('ec')), code('MALFORMED'))
  await assert.rejects(seal(Buffer.alloc(MAX_SEALED), host('ec'), host('rsa').certificate), code('INTERNAL'))
})

/** Parts of a SignedData, to put together wrongly. */
async function parts(from: Host): Promise<{ signed: der.Asn1[]; signer: der.Asn1[] }> {
  const list = (value: der.Asn1 | undefined): der.Asn1[] => {
    assert.ok(value && typeof value.value !== 'string')
    return value.value
  }
  const outer = list(der.decode(await signContent(content, from), 'x'))
  const signed = list(list(outer[1])[0])
  return { signed, signer: list(list(signed[3])[0]) }
}

const SIGNED_DATA = '1.2.840.113549.1.7.2'

function assemble(signed: der.Asn1[], ...signers: der.Asn1[][]): Buffer {
  const infos = der.setOf(...signers.map((signer) => der.sequence(...signer)))
  const body = der.sequence(...signed.slice(0, 3), infos)
  return der.encode(der.sequence(der.oid(SIGNED_DATA), der.tagged(0, body)))
}

async function verdict(signed: Buffer, signer: Host): Promise<string> {
  try {
    const recipient = host('ec')
    const opened = await unseal(envelop(signed, recipient.certificate), recipient)
    opened.verify(signer.certificate)
    return 'good'
  } catch (error) {
    assert.ok(error instanceof PlexusError)
    return error.code
  }
}

test('one signer, signed attributes, no second opinion', async () => {
  const from = host('rsa')
  const { signed, signer } = await parts(from)
  assert.equal(await verdict(assemble(signed, signer), from), 'good')
  assert.equal(await verdict(assemble(signed), from), 'MALFORMED')
  assert.equal(
    await verdict(assemble(signed, signer, (await parts(host('other'))).signer), from),
    'MALFORMED',
  )
  const bare = signer.filter((_, index) => index !== 3)
  assert.equal(await verdict(assemble(signed, bare), from), 'MALFORMED')
})

test('attributes of another signature are not taken for content', async () => {
  // the DER of the signed attributes as content, under a signature without attributes, is the known forgery
  const from = host('rsa')
  const { signed, signer } = await parts(from)
  const attributes = signer[3]
  assert.ok(attributes && typeof attributes.value !== 'string')
  const forged = der.octetString(der.encode(der.setOf(...attributes.value)))
  const encapsulated = der.sequence(der.oid('1.2.840.113549.1.7.1'), der.tagged(0, forged))
  const swapped = [signed[0], signed[1], encapsulated] as der.Asn1[]
  assert.equal(
    await verdict(
      assemble(
        swapped,
        signer.filter((_, index) => index !== 3),
      ),
      from,
    ),
    'MALFORMED',
  )
  assert.equal(await verdict(assemble(swapped, signer), from), 'SIGNATURE')
})

test('a good signature under another’s name is nobody’s', async () => {
  const mine = await parts(host('other'))
  const theirs = await parts(host('ec'))
  const renamed = mine.signer.map((part, index) => (index === 1 ? (theirs.signer[1] ?? part) : part))
  assert.equal(await verdict(assemble(mine.signed, renamed), host('ec')), 'SIGNATURE')
  assert.equal(await verdict(assemble(mine.signed, renamed), host('other')), 'SIGNATURE')
})

test('MD5 and SHA-1 are refused, and so are two digests that contradict each other', async () => {
  const from = host('rsa')
  const { signed, signer } = await parts(from)
  const declared = (digest: der.Asn1) => signed.map((part, index) => (index === 1 ? der.setOf(digest) : part))
  const swap = (place: number, value: der.Asn1) =>
    signer.map((part, index) => (index === place ? value : part))
  const md5 = der.sequence(der.oid('1.2.840.113549.2.5'), der.nothing())
  const sha1 = der.sequence(der.oid('1.3.14.3.2.26'), der.nothing())
  const sha512 = der.sequence(der.oid('2.16.840.1.101.3.4.2.3'))
  assert.equal(await verdict(assemble(declared(md5), swap(2, md5)), from), 'SIGNATURE')
  assert.equal(await verdict(assemble(declared(sha1), swap(2, sha1)), from), 'SIGNATURE')
  assert.equal(await verdict(assemble(declared(sha512), swap(2, sha512)), from), 'SIGNATURE')
  assert.equal(await verdict(assemble(signed, swap(2, sha512)), from), 'MALFORMED')
  const sha1WithRsa = der.sequence(der.oid('1.2.840.113549.1.1.5'), der.nothing())
  const sha384WithRsa = der.sequence(der.oid('1.2.840.113549.1.1.12'), der.nothing())
  const sha256WithRsa = der.sequence(der.oid('1.2.840.113549.1.1.11'), der.nothing())
  assert.equal(await verdict(assemble(signed, swap(4, sha1WithRsa)), from), 'SIGNATURE')
  assert.equal(await verdict(assemble(signed, swap(4, sha384WithRsa)), from), 'SIGNATURE')
  assert.equal(await verdict(assemble(signed, swap(4, sha256WithRsa)), from), 'good')
  const pssWithSha1 = der.sequence(der.oid('1.2.840.113549.1.1.10'), der.sequence())
  assert.equal(await verdict(assemble(signed, swap(4, pssWithSha1)), from), 'SIGNATURE')
})

test('the recipient’s point has to lie on the curve', async () => {
  const recipient = host('ec')
  const sealed = envelop(content, recipient.certificate)
  const at = sealed.indexOf(Buffer.of(0x03, 0x42, 0x00, 0x04)) + 4
  assert.ok(at > 4)
  for (const point of [Buffer.alloc(64), Buffer.alloc(64, 0xff), createHash('sha512').update('x').digest()]) {
    const forged = Buffer.from(sealed)
    point.copy(forged, at)
    await assert.rejects(openEnvelope(forged, recipient), code('UNSEALABLE'))
  }
  const hybrid = Buffer.from(sealed)
  hybrid[at - 1] = 6 + ((sealed[at + 63] ?? 0) & 1)
  await assert.rejects(openEnvelope(hybrid, recipient), code('MALFORMED'))
})

test('two messages of the same content share neither key nor nonce', async () => {
  const [one, two] = await Promise.all([
    seal(content, host('rsa'), host('rsa').certificate),
    seal(content, host('rsa'), host('rsa').certificate),
  ])
  let equal = 0
  for (let at = one.length - 300; at < one.length; at++) if (one[at] === two[at]) equal++
  assert.ok(equal < 30, `${equal} of 300`)
})

test('more than sixteen signed attributes are refused before any of them is looked at closely', async () => {
  const from = host('ec')
  const { signed, signer } = await parts(from)
  const own = signer[3]?.value
  assert.ok(own && typeof own !== 'string')
  for (const [more, expected] of [
    [14, 'SIGNATURE'],
    [15, 'MALFORMED'],
    [200, 'MALFORMED'],
  ] as const) {
    const attributes = Array.from({ length: more }, (_, index) =>
      der.sequence(der.oid(`1.2.840.113549.1.9.16.2.${index}`), der.setOf(der.octetString(randomBytes(4)))),
    )
    const many: der.Asn1[] = signer.map((part, index) =>
      index === 3 ? der.tagged(0, ...own, ...attributes) : part,
    )
    assert.equal(await verdict(assemble(signed, many), from), expected, `${more} more`)
  }
})

test('the longest that a pairing says fits, with a post-quantum key beside the others', async () => {
  const name = { owner: `${'o'.repeat(48)}@example.com`, pin: 'p'.repeat(60) }
  const time = Date.now()
  const offer = {
    key: randomBytes(32),
    candidates: Array.from({ length: 32 }, (_, index) => ({
      kind: 'reflexive' as const,
      endpoint: {
        address: `2001:db8:aaaa:bbbb:cccc:dddd:eeee:${(0x1000 + index).toString(16)}`,
        port: 65_000,
      },
    })),
    nat: NO_HINT,
    kem: randomBytes(KEM_KEY),
    can: ['seek', 'spread', CAN_KEM],
  }
  const header = { from: name, to: name, app: 'a'.repeat(40), session: 'f'.repeat(32), time, expires: time }
  const content = encodeMessage({ ...header, kind: 'invite', reply: randomBytes(32), offer })
  const sealed = await seal(content, host('rsa'), host('other-rsa').certificate)
  const largerKeys = (2 * (4096 - 3072)) / 8
  assert.ok(sealed.length + largerKeys <= MAX_SEALED, `${sealed.length} bytes`)
})
