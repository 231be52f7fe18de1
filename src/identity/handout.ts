import { PlexusError } from '../errors/index.js'
import { carriedName } from './carried-name.js'
import { type Certificate, parseBundle, parseCertificate } from './certificate.js'
import { formatIdentity, type IdentityName, parseIdentity } from './name.js'

/** What is handed to a peer: the certificates of one identity, with its name; nothing in it is secret. */
export interface Handout {
  /** Nothing when neither the text nor a certificate says it. */
  readonly name: IdentityName | undefined
  /** One, or during a rollover two: the one in use and the one that comes next. */
  readonly certificates: readonly [Certificate, ...Certificate[]]
}

const HEADER = '# plexus identity: '
/** Before anything is parsed: two certificates are smaller, even with what openssl prints around them. */
const MAX_TEXT = 64 * 1024
/** The one in use, and the one that comes next. */
const MAX_CERTIFICATES = 2

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
 * Reads a handout. The name stands in the first line, or in the certificates.
 * @param where for messages: the file
 * @throws PlexusError CERTIFICATE_INVALID also when there are more than two certificates, a private key among them, or
 * names that contradict each other; IDENTITY_NAME
 */
export function parseHandout(text: string, where: string): Handout {
  const refuse = (why: string, advice?: string) =>
    new PlexusError('CERTIFICATE_INVALID', `${where} ${why}.`, advice ? { advice } : {})
  if (text.length > MAX_TEXT) throw refuse(`is larger than ${MAX_TEXT / 1024} KiB`)
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw refuse(
      'holds a private key',
      'A private key never leaves its machine: ask for the output of plexus id export, and for a new key.',
    )
  }
  const blocks = parseBundle(text, where)
  if (blocks.length > MAX_CERTIFICATES) {
    throw refuse(`holds ${blocks.length} certificates`, 'Import one identity at a time.')
  }
  const parsed = blocks.map((block) => parseCertificate(block.toString(), where))
  const [first, second] = parsed
  if (!first) throw refuse('holds no certificate in PEM form')
  const names = new Map<string, IdentityName>()
  for (const name of [headerName(text), ...parsed.map(carriedName)]) {
    if (name) names.set(formatIdentity(name), name)
  }
  if (names.size > 1) throw refuse(`names two identities: ${[...names.keys()].join(' and ')}`)
  const [name] = names.values()
  return { name, certificates: second ? [first, second] : [first] }
}

function headerName(text: string): IdentityName | undefined {
  const line = text.split(/\r?\n/, 1)[0] ?? ''
  return line.startsWith(HEADER) ? parseIdentity(line.slice(HEADER.length)) : undefined
}
