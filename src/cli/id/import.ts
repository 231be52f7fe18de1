import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { codeWord, PlexusError } from '../../errors/index.js'
import { makeDirectories } from '../../files/index.js'
import {
  type Certificate,
  formatIdentity,
  type Handout,
  type IdentityName,
  type ImportPlan,
  parseFingerprint,
  parseHandout,
  planImport,
  Repository,
  storeCertificates,
} from '../../identity/index.js'
import { systemClock, systemRandom } from '../clock.js'
import type { Values } from '../flags/values.js'
import { certificateLines, day, indented, printable } from './certificate-lines.js'
import { confirm } from './confirm.js'
import { repositoryPath } from './repository.js'

/** More is no certificate, in bytes. */
const MAX_INPUT = 64 * 1024

/** `plexus id import <file|->`: lets a peer in, once its fingerprint has been looked at. */
export async function importIdentity(file: string, values: Values): Promise<number> {
  const expected = values.many('fingerprint').map(fingerprintFlag)
  const replace = values.switch('replace')
  const as = values.identity('as')
  const handout = parseHandout(await read(file), file === '-' ? 'Standard input' : file)
  const name = whose(handout, as)
  const repository = await openOrMake(repositoryPath(values))
  const { plan, unreadable } = await planFor(repository, name, handout.certificates, replace)
  const full = formatIdentity(name)
  if (plan.added.length === 0 && plan.dropped.length === 0) {
    process.stdout.write(`${full} is already in the repository, with the same certificate.\n`)
    return 0
  }
  if (await repository.hasKey(name)) {
    throw new PlexusError('IDENTITY_EXISTS', `${full} is your own identity: its private key is here.`, {
      advice:
        'To replace its key use plexus id renew. Copy a certificate issued by a CA to cert.crt yourself.',
    })
  }
  await refuseRevoked(repository, name, plan.added)
  process.stderr.write(describe(full, { plan, unreadable, replace, handout }))
  if (expected.length > 0) checkFingerprints(replace ? plan.certificates : plan.added, expected)
  else await confirm('Does the owner of this identity confirm the fingerprint? Import it?', INSTEAD)
  // the old key first: it is in somebody else's hands
  if (replace) await repository.revoke(plan.dropped, `${full}, replaced on ${day(systemClock.date())}`)
  await storeCertificates(repository, name, plan.certificates, systemRandom)
  process.stdout.write(`${full} may connect from now on${replace ? ', only with this certificate' : ''}.\n`)
  return 0
}

const INSTEAD = "Pass the owner's fingerprint in --fingerprint; plexus id show prints it on that machine."

function fingerprintFlag(text: string): string {
  const fingerprint = parseFingerprint(text)
  if (fingerprint !== undefined) return fingerprint
  throw new PlexusError(
    'BAD_FLAG',
    `--fingerprint is '${text}', but should be a SHA-256 fingerprint: 32 bytes in hex.`,
  )
}

async function refuseRevoked(
  repository: Repository,
  name: IdentityName,
  added: readonly Certificate[],
): Promise<void> {
  const revoked = await repository.revoked()
  for (const { fingerprint, x509 } of added) {
    if (!revoked.has(fingerprint.toString('hex'))) continue
    const sentence = `The certificate ${x509.fingerprint256} of ${formatIdentity(name)} is revoked here.`
    throw new PlexusError('CERTIFICATE_REVOKED', sentence, {
      advice: `Ask its owner for the new one. To accept this one anyway, remove its line from ${repository.revokedPath}.`,
    })
  }
}

function checkFingerprints(added: readonly Certificate[], expected: readonly string[]): void {
  for (const { fingerprint, x509 } of added) {
    if (expected.includes(fingerprint.toString('hex'))) continue
    throw new PlexusError(
      'FINGERPRINT',
      `The fingerprint is ${x509.fingerprint256}, which does not match --fingerprint.`,
    )
  }
}

function whose({ name }: Handout, as: IdentityName | undefined): IdentityName {
  if (name && as && formatIdentity(name) !== formatIdentity(as)) {
    throw new PlexusError(
      'BAD_FLAG',
      `--as is '${formatIdentity(as)}', but the certificate belongs to ${formatIdentity(name)}.`,
      {
        advice: 'Leave out --as: peers use the name in their certificate.',
      },
    )
  }
  const found = name ?? as
  if (found) return found
  throw new PlexusError('IDENTITY_NAME', 'The certificate does not name its identity.', {
    advice: 'Add --as=owner/pin, the --host-info of the peer.',
  })
}

async function planFor(
  repository: Repository,
  name: IdentityName,
  coming: readonly Certificate[],
  replace: boolean,
): Promise<{ plan: ImportPlan; unreadable: boolean }> {
  if (!(await repository.has(name))) return { plan: planImport([], coming, replace), unreadable: false }
  const { current, next } = await repository.record(name)
  const known: Certificate[] = []
  let unreadable = false
  for (const there of next ? [current, next] : [current]) {
    if (!(there instanceof PlexusError)) known.push(there)
    else if (there.code !== 'IDENTITY_MISSING') unreadable = true
  }
  return { plan: planImport(known, coming, replace), unreadable }
}

function describe(
  full: string,
  about: { plan: ImportPlan; unreadable: boolean; replace: boolean; handout: Handout },
): string {
  const { plan, unreadable, replace, handout } = about
  const { certificates, added, dropped } = plan
  const kept = !replace && certificates.length > added.length
  const parts = (replace ? certificates : added).map((certificate) => indented(certificateLines(certificate)))
  const notes = [
    ...handout.authorities.map(
      (subject) =>
        `Skipped the certificate of the authority ${printable(subject)}, which is not the certificate of an identity.`,
    ),
    ...(kept ? ['It already has another certificate: both are accepted from now on.'] : []),
    ...dropped.map(
      ({ x509 }) => `No longer accepted${replace ? ', and revoked' : ''}: ${x509.fingerprint256}.`,
    ),
    ...(unreadable ? ['Replacing an existing certificate that cannot be read.'] : []),
  ]
  return `${full}\n${parts.join('and\n')}${notes.map((note) => `${note}\n`).join('')}`
}

async function read(file: string): Promise<string> {
  try {
    if (file === '-') return await readAll(process.stdin)
    const handle = await open(file)
    try {
      return await readAll(handle.createReadStream({ autoClose: false }))
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (cause instanceof PlexusError) throw cause
    throw new PlexusError('BAD_FLAG', `The file '${file}' cannot be read (${codeWord(cause)}).`, {
      advice: 'Name a file that plexus id export made, or - for standard input.',
      cause,
    })
  }
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    length += bytes.length
    if (length > MAX_INPUT)
      throw new PlexusError('CERTIFICATE_INVALID', `The input is larger than ${MAX_INPUT / 1024} KiB.`)
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** A first peer may come before the first own identity. */
async function openOrMake(path: string): Promise<Repository> {
  try {
    await makeDirectories(path, 0o700)
  } catch (cause) {
    // one that is there and cannot be made can be opened
    return await Repository.open(path).catch(() => {
      const why = codeWord(cause)
      throw new PlexusError('REPOSITORY', `The repository ${path} cannot be created (${why}).`, { cause })
    })
  }
  return await Repository.open(path)
}
