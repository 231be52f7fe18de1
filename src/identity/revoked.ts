import { PlexusError } from '../errors/index.js'

/**
 * The fingerprints of certificates that are out, whatever else the repository has: the file `revoked` at its top. A line for
 * each, SHA-256 in hex, as `openssl x509 -fingerprint -sha256` and `plexus id show` write it, or without colons; `#` begins a comment.
 */
export type Revoked = ReadonlySet<string>

/** @throws PlexusError BAD_CONFIG for a line that is no fingerprint: who was meant by it would still be let in */
export function parseRevoked(text: string, path: string): Revoked {
  const found = new Set<string>()
  for (const [index, line] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    const bare = line.replace(/#.*/, '').trim()
    if (bare === '') continue
    const fingerprint = parseFingerprint(bare)
    if (fingerprint === undefined) {
      throw new PlexusError('BAD_CONFIG', `Line ${index + 1} of ${path} is not a SHA-256 fingerprint.`, {
        advice: 'Write 32 bytes in hex, as plexus id show prints them. Until then nobody can connect.',
      })
    }
    found.add(fingerprint)
  }
  return found
}

/** A SHA-256 fingerprint in lower-case hex; nothing when it is none. What openssl writes before it is left out. */
export function parseFingerprint(text: string): string | undefined {
  const digits = text.replace(/^.*=/, '').replaceAll(':', '').trim().toLowerCase()
  return /^[0-9a-f]{64}$/.test(digits) ? digits : undefined
}

/** The text of the file with one more certificate. @param note behind it, for a person: one line */
export function addRevoked(text: string, fingerprint: string, note: string): string {
  const line = `${fingerprint} # ${note}\n`
  return text === '' || text.endsWith('\n') ? text + line : `${text}\n${line}`
}
