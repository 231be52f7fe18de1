import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PlexusError } from '../../src/errors/index.js'
import { createIdentity, type Host, type IdentityName, Repository } from '../../src/identity/index.js'
import { decodeMessage, encodeMessage, type Message } from '../../src/pairing/message.js'
import { NO_HINT } from '../../src/punch/index.js'
import { envelop } from '../../src/sealing/envelope.js'
import { ephemeral, seal, unseal } from '../../src/sealing/index.js'
import { signContent } from '../../src/sealing/signed.js'
import {
  decode,
  mappedEndpoint,
  shortTermKey,
  verifyFingerprint,
  verifyIntegrity,
  verifyIntegritySha256,
} from '../../src/stun/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { numbers } from '../fixtures/stun/random.js'
import * as vectors from '../fixtures/stun/vectors.js'
import { mutated, mutatedJson, type Numbers } from './mutation.js'

/** A parser of what anybody may send, and inputs that are almost right. */
export interface Target {
  readonly name: string
  input(next: Numbers): Uint8Array
  /** Parses and uses what it gives, as the program does. */
  parse(input: Uint8Array): unknown
}

/** What came of many inputs. */
export interface Outcome {
  /** How many were taken for good, and how many were refused, by the code of the error. */
  readonly counts: ReadonlyMap<string, number>
  /** Errors that are no PlexusError, or one that says that this program is at fault, with the seed's n-th input. */
  readonly untyped: readonly { readonly nth: number; readonly input: string; readonly error: unknown }[]
  /** The longest time that one input took, in ms. */
  readonly slowest: number
}

/** An input that seemed to take longer than this, in ms, is parsed again: another process may have had the machine. */
const SUSPICIOUS = 10
const REPETITIONS = 5

/** Gives `count` inputs to a parser, the same for the same seed. */
export async function fuzz(target: Target, count: number, seed: number): Promise<Outcome> {
  const next = numbers(seed)
  const counts = new Map<string, number>()
  const untyped: { nth: number; input: string; error: unknown }[] = []
  let slowest = 0
  for (let nth = 0; nth < count; nth++) {
    const input = target.input(next)
    const first = await timed(target, input)
    let { took } = first
    for (let again = 0; took > SUSPICIOUS && again < REPETITIONS; again++)
      took = Math.min(took, (await timed(target, input)).took)
    slowest = Math.max(slowest, took)
    const { error } = first
    const typed = error === undefined || (error instanceof PlexusError && error.code !== 'INTERNAL')
    if (!typed) untyped.push({ nth, input: Buffer.from(input).toString('base64'), error })
    const name = error instanceof PlexusError ? error.code : error === undefined ? 'accepted' : 'untyped'
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return { counts, untyped, slowest }
}

async function timed(target: Target, input: Uint8Array): Promise<{ took: number; error: unknown }> {
  const began = performance.now()
  try {
    await target.parse(input)
    return { took: performance.now() - began, error: undefined }
  } catch (error) {
    return { took: performance.now() - began, error }
  }
}

/** One of a list. */
function oneOf<T>(list: readonly T[], next: Numbers): T {
  const item = list[Math.floor(next() * list.length)]
  if (item === undefined) throw new Error('an empty list')
  return item
}

/** Mutations of the messages of RFC 5769 and of our own; what can be read is used and verified. */
export function stunTarget(): Target {
  const key = shortTermKey(vectors.SHORT_TERM_PASSWORD)
  const samples = [
    vectors.SAMPLE_REQUEST,
    vectors.SAMPLE_IPV4_RESPONSE,
    vectors.SAMPLE_IPV6_RESPONSE,
    vectors.SAMPLE_LONG_TERM_REQUEST,
    vectors.SAMPLE_SHA256_REQUEST,
  ]
  return {
    name: 'STUN codec',
    input(next) {
      const data = mutated(oneOf(samples, next), oneOf(samples, next), next)
      // every other one with a length that is right again, so that its attributes are reached
      if (next() < 0.5 || data.length < 20) return data
      const whole = data.subarray(0, data.length & ~3)
      whole.writeUInt16BE((whole.length - 20) & 0xffff, 2)
      return whole
    },
    parse(input) {
      const message = decode(input)
      mappedEndpoint(message)
      verifyIntegrity(message, key)
      verifyIntegritySha256(message, key, 16)
      verifyFingerprint(message)
    },
  }
}

const ALICE: IdentityName = { owner: 'alice@px.test', pin: 'laptop' }
const BOB: IdentityName = { owner: 'bob@px.test', pin: 'server' }

/** One message of each kind, with everything in it that may be there. */
export function messages(): Message[] {
  const header = {
    from: ALICE,
    to: BOB,
    app: 'plexus',
    session: '00112233445566778899aabbccddeeff',
    time: 1_790_000_000_000,
    expires: 1_790_000_900_000,
  }
  const candidates = [
    { kind: 'host', endpoint: { address: '192.168.1.7', port: 40_000 } },
    { kind: 'host', endpoint: { address: '2001:db8::7', port: 40_001 } },
    { kind: 'reflexive', endpoint: { address: '203.0.113.9', port: 61_234 } },
  ] as const
  const offer = {
    key: ephemeral().publicKey,
    candidates,
    nat: {
      ...NO_HINT,
      mapping: 'address-dependent',
      allocation: { kind: 'sequential', step: 2 },
      ports: [40_000, 40_002],
    },
    can: ['relay'],
  } as const
  return [
    { ...header, kind: 'invite', reply: Buffer.alloc(32, 7), offer },
    { ...header, kind: 'answer', offer },
    { ...header, kind: 'update', nat: NO_HINT, candidates },
    {
      ...header,
      kind: 'refusal',
      code: 'BUSY',
      sentence: 'A pairing with this identity is already running.',
    },
    { ...header, kind: 'abort', code: 'PUNCH_TIMEOUT', sentence: 'No path in 8 s.' },
  ]
}

/** Mutations of offers and the other messages: of their octets, and of the values in them. */
export function offerTarget(): Target {
  const samples = messages().map(encodeMessage)
  return {
    name: 'offer parser',
    input(next) {
      const sample = oneOf(samples, next)
      if (next() < 0.5) return mutated(sample, oneOf(samples, next), next)
      return Buffer.from(JSON.stringify(mutatedJson(JSON.parse(sample.toString()), next)) ?? '')
    },
    // what was read is written again, as an answer to it would be
    parse: (input) => encodeMessage(decodeMessage(input)),
  }
}

/** How much of a fuzzing run goes through RSA, which takes milliseconds where EC takes a fraction of one. */
const RSA_SHARE = 0.1

/** Mutations of sealed messages, and of what is signed inside of an envelope that opens, for RSA and for EC. */
export async function sealingTarget(): Promise<{ target: Target; close: () => Promise<void> }> {
  const scratch = await mkdtemp(join(tmpdir(), 'plexus-fuzz-'))
  const names = { ec: { owner: 'o', pin: 'ec' }, rsa: { owner: 'o', pin: 'rsa' } }
  for (const key of ['ec', 'rsa'] as const) {
    await createIdentity(scratch, names[key], { key, random: systemRandom, date: systemClock.date() })
  }
  const repository = await Repository.open(scratch)
  const hosts = { ec: await repository.host(names.ec), rsa: await repository.host(names.rsa) }
  const contents = messages().map(encodeMessage)
  const sealed: Record<'ec' | 'rsa', Buffer[]> = { ec: [], rsa: [] }
  const signed: Record<'ec' | 'rsa', Buffer[]> = { ec: [], rsa: [] }
  for (const content of contents) {
    for (const kind of ['ec', 'rsa'] as const) {
      sealed[kind].push(await seal(content, hosts[kind], hosts[kind].certificate))
      signed[kind].push(Buffer.from(await signContent(content, hosts[kind])))
    }
  }
  // who it is for stands in the first byte of an input: the parser that is fuzzed gets the rest
  const target: Target = {
    name: 'sealing',
    input(next) {
      const kind = next() < RSA_SHARE ? 'rsa' : 'ec'
      const inside = next() < 0.4
      const samples = (inside ? signed : sealed)[kind]
      const data = mutated(oneOf(samples, next), oneOf(samples, next), next)
      const whole = inside ? envelop(data, hosts[kind].certificate) : data
      return Buffer.concat([Buffer.from(kind === 'rsa' ? [1] : [0]), whole])
    },
    async parse(input) {
      const host: Host = input[0] === 1 ? hosts.rsa : hosts.ec
      const unverified = await unseal(input.subarray(1), host)
      unverified.verify(host.certificate)
      if (!contents.some((content) => content.equals(unverified.content)))
        throw new Error('content that nobody signed was taken')
    },
  }
  return { target, close: () => rm(scratch, { recursive: true, force: true }) }
}
