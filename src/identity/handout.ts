import { PlexusError } from '../errors/index.js'
import { carriedName } from './carried-name.js'
import { type Certificate, certificateOf, parseBundle } from './certificate.js'
import { sortCertificates } from './leaf.js'
import { formatIdentity, type IdentityName, parseIdentity } from './name.js'

/** What is handed to a peer: the certificates of one identity, with its name; nothing in it is secret. */
export interface Handout {
  /** Nothing when neither the text nor a certificate says it. */
  readonly name: IdentityName | undefined
  /** One, or during a rollover two: the one in use and the one that comes next, by their dates. */
  readonly certificates: readonly [Certificate, ...Certificate[]]
  /** Subjects of the authorities that stand beside it, as in a full chain: they speak for nobody. */
  readonly authorities: readonly string[]
}

const HEADER = '# plexus identity: '
/** Before anything is parsed: two certificates are smaller, even with what openssl prints around them. */
const MAX_TEXT = 64 * 1024
/** The one in use, and the one that comes next. */
const MAX_CERTIFICATES = 2
/** With the authorities of a long chain. */
const MAX_BLOCKS = 16

/** Writes a handout: PEM, with a line before it that names the identity where the certificates do not. */
export function formatHandout(name: IdentityName, certificates: readonly Certificate[]): string {
  const full = formatIdentity(name)
  const carried = certificates.every((certificate) => {
    const own = carriedName(certificate)
    return own !== undefined && formatIdentity(own) === full
  })
  return `${carried ? '' : `${HEADER}${full}\n`}${certificates.map(({ pem }) => pem).join('')}`
}

/**
 * Reads a handout. The name stands in the first line, or in the certificates. Beside the certificate there may be the
 * chain that it was issued through; which one speaks for the identity is told by who issued whom, never by the order.
 * @param where for messages: the file
 * @throws PlexusError CERTIFICATE_INVALID also when it cannot be told whose key is meant, when there is a private key
 * among them, or names that contradict each other; IDENTITY_NAME
 */
export function parseHandout(text: string, where: string): Handout {
  const refuse = (why: string, advice?: string) =>
    new PlexusError('CERTIFICATE_INVALID', `${where} ${why}.`, advice ? { advice } : {})
  if (text.length > MAX_TEXT) throw refuse(`is larger than ${MAX_TEXT / 1024} KiB`)
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw refuse(
      'holds a private key',
      'A private key must never leave its machine: ask for the output of plexus id export, and for a new key.',
    )
  }
  const bundle = parseBundle(text, where)
  if (bundle.length > MAX_BLOCKS) throw refuse(`holds ${bundle.length} certificates`, ONE)
  const { leaves, authorities } = sortCertificates(bundle)
  const header = headerName(text)
  const parsed = leaves.map((leaf) => certificateOf(leaf, where))
  const names = new Map<string, IdentityName>()
  for (const name of [header, ...parsed.map(carriedName)]) {
    if (name) names.set(formatIdentity(name), name)
  }
  if (names.size > 1) throw refuse(`names two identities: ${[...names.keys()].join(' and ')}`, ONE)
  const [first, second, third] = parsed
  if (!first || third)
    throw refuse(
      `holds ${leaves.length} certificates, and it is not clear which one belongs to the identity`,
      ONE,
    )
  if (second && !isRollover(parsed, { header, authorities: authorities.length })) {
    throw refuse('holds two certificates that may not belong to the same identity', ONE)
  }
  const [name] = names.values()
  return {
    name,
    certificates: second ? [first, second] : [first],
    authorities: authorities.map(({ subject }) => subject),
  }
}

const ONE =
  'Import one identity at a time: a file with only its certificate, or the output of plexus id export.'

/** Whether two certificates are what `formatHandout` writes during a rollover: both of the one who is named, no chain. */
function isRollover(
  both: readonly Certificate[],
  { header, authorities }: { header: IdentityName | undefined; authorities: number },
): boolean {
  const named = header !== undefined || both.every((each) => carriedName(each) !== undefined)
  const alike = both.every(({ x509 }) => x509.ca === both[0]?.x509.ca)
  return authorities === 0 && named && alike && both.length <= MAX_CERTIFICATES
}

function headerName(text: string): IdentityName | undefined {
  const line = text.split(/\r?\n/, 1)[0] ?? ''
  return line.startsWith(HEADER) ? parseIdentity(line.slice(HEADER.length)) : undefined
}
