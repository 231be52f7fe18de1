import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { PlexusError } from '../../src/errors/index.js'
import {
  createIdentity,
  formatHandout,
  formatIdentity,
  parseCertificate,
  parseHandout,
  parseIdentity,
  Repository,
} from '../../src/identity/index.js'
import { Prng } from '../simulation/prng.js'

const ALICE = 'alice@px.test/laptop'
const BOB = 'bob@px.test/server'
const DATE = systemClock.date()

/** What stands in for a piece of text: separators, marks that cannot be seen, shells, wildcards, very much. */
const PIECES = [
  '/',
  '\\',
  '..',
  '.',
  '\0',
  '\n',
  '\u202e',
  '\ud800',
  '\ufeff',
  ' ',
  '%peerip%',
  '$(id)',
  'ü',
  '-'.repeat(5),
  'x'.repeat(300),
  '-----BEGIN CERTIFICATE-----',
  '-----END CERTIFICATE-----\n',
  '# plexus identity: ',
  '=',
]
/** Octets that mean something in DER: tags, lengths of every form, the ends of ranges. */
const OCTETS = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x1f, 0x30, 0x31, 0x7f, 0x80, 0x81, 0x82, 0x84, 0x88, 0xa0, 0xa3,
  0xbf, 0xff,
]

/** What one kind of mutation did, over all inputs. */
export interface Tally {
  inputs: number
  /** Refused with a PlexusError; the rest was taken. */
  refused: number
  /** The slowest input, in ms: the fastest of three tries for one that seemed slow. */
  slowest: number
  /** Anything else that was thrown, with the input. */
  readonly wrong: string[]
}

type Kind = (prng: Prng) => { input: string | Buffer; work: () => unknown }

/**
 * Puts `inputs` mutated names, certificates (as PEM, as DER, as files of a repository, and under an authority) and
 * handouts before the code that reads them, the kinds in turns.
 * @param seed the same seed makes the same mutations of the certificates that are made anew each time
 */
export async function mutateIdentities(inputs: number, seed: number): Promise<Map<string, Tally>> {
  const scratch = await mkdtemp(join(tmpdir(), 'plexus-mutations-'))
  try {
    const kinds = await kindsIn(join(scratch, 'repo'), scratch)
    const prng = new Prng(seed)
    const tallies = new Map<string, Tally>()
    const names = [...kinds.keys()]
    for (let index = 0; index < inputs; index++) {
      const name = names[index % names.length] ?? ''
      const tally = tallies.get(name) ?? { inputs: 0, refused: 0, slowest: 0, wrong: [] }
      tallies.set(name, tally)
      const one = kinds.get(name)?.(prng)
      if (one) await judge(one, tally)
    }
    return tallies
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** Slower than this is looked at again, in ms: on a shared machine any call can be held up. */
const SUSPICIOUS = 10

async function judge({ input, work }: ReturnType<Kind>, tally: Tally): Promise<void> {
  tally.inputs++
  let took = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 3 && took > SUSPICIOUS; attempt++) {
    const start = performance.now()
    try {
      await work()
    } catch (thrown) {
      if (attempt === 0) tally.refused++
      if (!(thrown instanceof PlexusError) || thrown.code === 'INTERNAL') {
        tally.wrong.push(`${thrown instanceof Error ? thrown.stack : thrown} for ${input.toString('base64')}`)
      }
    }
    took = Math.min(took, performance.now() - start)
  }
  tally.slowest = Math.max(tally.slowest, took)
}

async function kindsIn(path: string, scratch: string): Promise<Map<string, Kind>> {
  const options = { key: 'ec', random: systemRandom, date: DATE } as const
  for (const name of [ALICE, BOB]) await createIdentity(path, parseIdentity(name), options)
  const authority = join(scratch, 'ca')
  const openssl = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/O=a/CN=b',
    '-addext',
    'subjectAltName=DNS:x,URI:plexus:a/b,email:c@d',
  ]
  execFileSync('openssl', [...openssl, '-keyout', '/dev/null', '-out', authority], { stdio: 'pipe' })
  const repository = await Repository.open(path)
  const alice = parseIdentity(ALICE)
  const bob = parseIdentity(BOB)
  const trust = { host: alice, date: DATE }
  const own = await repository.certificate(bob, trust)
  const foreign = parseCertificate(await readFile(authority, 'utf8'))
  const samples = [own, foreign]
  const sample = (prng: Prng) => samples[prng.next() % samples.length] ?? own
  const { certificate: file } = repository.paths(bob)
  const authorities = repository.paths(alice).ca

  const ofName = (prng: Prng) => mutateText(prng.next() % 2 ? ALICE : 'laptop', prng)
  const ofPem = (prng: Prng) => mutateText(sample(prng).pem, prng)
  const ofDer = (prng: Prng) => pem(mutateOctets(sample(prng).der, prng))
  return new Map<string, Kind>([
    ['name', (prng) => kind(ofName(prng), (text) => formatIdentity(parseIdentity(text)))],
    ['short name', (prng) => kind(ofName(prng), (text) => repository.resolve(text))],
    [
      'name from a message',
      (prng) =>
        kind(ofName(prng), async (text) => {
          const [owner = '', pin = ''] = text.split('/')
          await repository.has({ owner, pin })
          await repository.certificates({ owner, pin }, trust)
        }),
    ],
    ['certificate as PEM', (prng) => kind(ofPem(prng), (text) => parseCertificate(text))],
    ['certificate as DER', (prng) => kind(ofDer(prng), (text) => parseCertificate(text))],
    [
      'handout',
      (prng) => kind(mutateText(formatHandout(bob, samples), prng), (text) => parseHandout(text, 'x')),
    ],
    ['handout of DER', (prng) => kind(ofDer(prng), (text) => parseHandout(text, 'x'))],
    [
      'file of a peer',
      (prng) =>
        kind(prng.next() % 2 ? ofDer(prng) : ofPem(prng), async (text) => {
          await writeFile(file, text)
          await repository.certificates(bob, trust)
          await repository.record(bob)
        }),
    ],
    [
      // of a certificate that is its own authority: an unharmed one is trusted
      'file of an authority',
      (prng) => {
        const spoilt = prng.next() % 2 ? pem(mutateOctets(foreign.der, prng)) : mutateText(foreign.pem, prng)
        return kind(spoilt, async (text) => {
          await writeFile(file, foreign.pem)
          await writeFile(authorities, text)
          try {
            await repository.certificates(bob, trust)
          } finally {
            await rm(authorities)
          }
        })
      },
    ],
  ])
}

function kind(input: string, work: (text: string) => unknown): ReturnType<Kind> {
  return { input: Buffer.from(input), work: () => work(input) }
}

/** Up to four changes: something put in, taken out, doubled, or cut off. */
function mutateText(text: string, prng: Prng): string {
  let out = text
  for (let change = prng.next() % 4; change >= 0; change--) {
    const at = prng.next() % (out.length + 1)
    const length = prng.next() % 8
    const piece = PIECES[prng.next() % PIECES.length] ?? ''
    switch (prng.next() % 5) {
      case 0:
        out = out.slice(0, at) + piece + out.slice(at)
        break
      case 1:
        out = out.slice(0, at) + out.slice(at + length)
        break
      case 2:
        out = out.slice(0, at) + String.fromCharCode(prng.next() % 128) + out.slice(at + 1)
        break
      case 3:
        out = out.slice(0, at) + out.slice(Math.max(0, at - length * 8))
        break
      case 4:
        out = prng.next() % 4 ? out : out.slice(0, at)
    }
  }
  return out
}

function mutateOctets(octets: Buffer, prng: Prng): Buffer {
  let out = Buffer.from(octets)
  for (let change = prng.next() % 4; change >= 0; change--) {
    const at = prng.next() % (out.length + 1)
    const length = prng.next() % 16
    const octet = Buffer.of(OCTETS[prng.next() % OCTETS.length] ?? 0)
    switch (prng.next() % 6) {
      case 0:
        out = Buffer.concat([out.subarray(0, at), octet, out.subarray(at)])
        break
      case 1:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + length)])
        break
      case 2:
      case 3:
        out = Buffer.concat([out.subarray(0, at), octet, out.subarray(at + 1)])
        break
      case 4:
        if (at < out.length) out[at] = (out[at] ?? 0) ^ (1 << (prng.next() % 8))
        break
      case 5:
        out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - length * 4))])
    }
  }
  return out
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? ['']
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
