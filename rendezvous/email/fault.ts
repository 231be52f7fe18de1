import { PlexusError } from '../../src/errors/index.js'
import type { Server } from './account.js'

/** What TLS says of a certificate that is not to be trusted, by node's and OpenSSL's codes. */
const UNTRUSTED =
  /^(?:CERT_|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)|ERR_TLS_CERT_ALTNAME|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH)/
/** The same as text, where a library has replaced the code by one of its own. */
const UNTRUSTED_TEXT =
  /certificate has expired|self.signed certificate|unable to (?:get (?:local )?issuer|verify the first)|altnames/i
/** A mailbox that is full, by its enhanced code (RFC 3463) or its words: somebody will tidy it up, however final the code. */
const FULL = /\b[45]\.2\.2\b|\bquota\b|mailbox (?:is )?full/i
/** The longest part of an answer of a server that is shown, in characters. */
const SHOWN = 200

interface Thrown {
  readonly code?: unknown
  readonly message?: unknown
  readonly response?: unknown
  readonly responseText?: unknown
  readonly responseCode?: unknown
  readonly authenticationFailed?: unknown
  readonly serverResponseCode?: unknown
  readonly cause?: unknown
}

/**
 * What a failure to use a server means: EMAIL_CERTIFICATE and EMAIL_LOGIN are the user's to mend, RENDEZVOUS_FOREIGN is
 * a mail that it never takes, and everything else is RENDEZVOUS_UNREACHABLE.
 */
export function faultOf(thrown: unknown, { host, port }: Server): PlexusError {
  if (thrown instanceof PlexusError) return thrown
  const error = (thrown ?? {}) as Thrown
  const where = `${host}:${port}`
  const said = firstLine(error.responseText ?? error.response ?? error.message ?? thrown)
  const code = String((error.cause as Thrown | undefined)?.code ?? error.code ?? '')
  if (UNTRUSTED.test(code) || UNTRUSTED_TEXT.test(String(error.message ?? ''))) {
    const why = firstLine(error.message ?? code)
    return new PlexusError('EMAIL_CERTIFICATE', `The certificate of ${where} is not trusted: ${why}.`)
  }
  const smtp = typeof error.responseCode === 'number' ? error.responseCode : 0
  // 454 and the like, and IMAP's UNAVAILABLE, are a server that cannot tell now (RFC 4954, RFC 5530)
  const temporary = (smtp >= 400 && smtp < 500) || error.serverResponseCode === 'UNAVAILABLE'
  if (error.authenticationFailed === true || (code === 'EAUTH' && smtp >= 500)) {
    if (!temporary) return new PlexusError('EMAIL_LOGIN', `${where} refuses the login: ${said}.`)
  }
  if (smtp >= 500 && code === 'EENVELOPE' && !FULL.test(said)) {
    return new PlexusError('RENDEZVOUS_FOREIGN', `${where} does not take the mail: ${said}.`, {
      advice:
        'Check that the owners of both identities are addresses, and that the login may send as its own.',
    })
  }
  return new PlexusError('RENDEZVOUS_UNREACHABLE', `${where} cannot be used now: ${said}.`)
}

function firstLine(said: unknown): string {
  const line = String(said).split(/[\r\n]/)[0] ?? ''
  return (
    line
      .replace(/\p{Cc}/gu, ' ')
      .trim()
      .slice(0, SHOWN)
      .replace(/\.$/, '') || 'no reason given'
  )
}
