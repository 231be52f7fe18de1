import { PlexusError } from '../../src/errors/index.js'
import type { Server } from './account.js'
import { type ImapReply, judgeImap, readImapReply } from './imap-reply.js'
import { judgeSmtp, readSmtpReply, smtpAdvice } from './smtp-reply.js'

/** What TLS says of a certificate that is not to be trusted, by node's and OpenSSL's codes. */
const UNTRUSTED =
  /^(?:CERT_|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)|ERR_TLS_CERT_ALTNAME|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH)/
/** The same as text, where a library has replaced the code by one of its own. */
const UNTRUSTED_TEXT =
  /certificate has expired|self.signed certificate|unable to (?:get (?:local )?issuer|verify the first)|altnames/i
/** What OpenSSL says when the other side speaks, but no TLS. */
const NO_TLS = /wrong version number|packet length too long|unknown protocol|http request/i
/** The longest part of an answer of a server that is shown, in characters. */
const SHOWN = 400

/** What a server was asked for when it failed. */
export type Stage = 'connect' | 'folder' | 'use' | 'submit'

interface Thrown {
  readonly code?: unknown
  readonly originalCode?: unknown
  readonly command?: unknown
  readonly message?: unknown
  /** Of the library for SMTP, and of that for IMAP: what the server said. */
  readonly response?: unknown
  readonly responseStatus?: unknown
  readonly responseText?: unknown
  readonly serverResponseCode?: unknown
  readonly authenticationFailed?: unknown
  /** What an IMAP server said before it hung up. */
  readonly reason?: unknown
  readonly mailboxMissing?: unknown
  readonly cause?: unknown
}

/** A login that a server put off: asking again at once makes it worse. */
export class PutOff extends PlexusError {}

/**
 * What a failure to use a server means, by its code, at every stage, with its own words. EMAIL_CERTIFICATE, EMAIL_LOGIN and BAD_FLAG
 * are the user's to mend, RENDEZVOUS_FOREIGN is a mail that it never takes, and everything else is RENDEZVOUS_UNREACHABLE.
 * @param folder the name of the folder that was being opened
 */
export function faultOf(thrown: unknown, server: Server, stage: Stage, folder = ''): PlexusError {
  if (thrown instanceof PlexusError) return thrown
  const error = (thrown ?? {}) as Thrown
  const where = `${server.host}:${server.port}`
  const message = String(error.message ?? thrown)
  const code = String((error.cause as Thrown | undefined)?.code ?? error.originalCode ?? error.code ?? '')
  if (UNTRUSTED.test(code) || UNTRUSTED_TEXT.test(message))
    return new PlexusError(
      'EMAIL_CERTIFICATE',
      `The certificate of ${where} is not trusted: ${shown(message)}.`,
    )
  if (NO_TLS.test(message))
    return new PlexusError('RENDEZVOUS_UNREACHABLE', `${where} does not speak TLS: ${shown(message)}.`, {
      advice: `Write ${stage === 'submit' ? 'smtp' : 'imap'}://${where} if it expects STARTTLS, or name its TLS port.`,
    })
  return stage === 'submit'
    ? submissionFault(error, where, message)
    : mailboxFault(error, where, message, stage, folder)
}

function submissionFault(error: Thrown, where: string, message: string): PlexusError {
  const reply = readSmtpReply(String(error.response ?? ''))
  const login = error.code === 'EAUTH' || String(error.command ?? '').startsWith('AUTH')
  if (!reply) return new PlexusError('RENDEZVOUS_UNREACHABLE', `${where} is unavailable: ${shown(message)}.`)
  const words = shown(reply.words)
  switch (judgeSmtp(reply, login ? 'login' : 'other')) {
    case 'login':
      return new PlexusError('EMAIL_LOGIN', `${where} rejected the login: ${words}.`)
    case 'never':
      return new PlexusError('RENDEZVOUS_FOREIGN', `${where} rejected the mail: ${words}.`, {
        advice: smtpAdvice(reply),
      })
    default:
      return new PlexusError('RENDEZVOUS_UNREACHABLE', `${where} is unavailable: ${words}.`)
  }
}

function mailboxFault(
  error: Thrown,
  where: string,
  message: string,
  stage: Stage,
  folder: string,
): PlexusError {
  const reply = imapReplyOf(error)
  if (!reply) {
    // it told nothing by a code: what the library found out by itself, and what was said before the end
    const said = shown(error.reason ?? message)
    if (error.authenticationFailed === true)
      return new PlexusError('EMAIL_LOGIN', `${where} rejected the login: ${said}.`)
    return new PlexusError('RENDEZVOUS_UNREACHABLE', `${where} is unavailable: ${said}.`)
  }
  const words = shown(reply.words)
  const login = error.authenticationFailed === true
  const asked = login ? 'login' : stage === 'folder' ? 'folder' : 'other'
  const inbox = folder.toUpperCase() === 'INBOX' // there always is one (RFC 9051, 5.1)
  let verdict = judgeImap(reply, asked)
  if (verdict === 'later' && reply.code === undefined && error.mailboxMissing === true) verdict = 'missing'
  if (verdict === 'login') return new PlexusError('EMAIL_LOGIN', `${where} rejected the login: ${words}.`)
  if (verdict === 'missing' && !inbox)
    return new PlexusError('BAD_FLAG', `${where} has no folder '${folder}': ${words}.`, {
      advice: 'Check --email-folder.',
    })
  if (verdict === 'forbidden')
    return new PlexusError(
      'BAD_FLAG',
      `${where} does not allow this account to open the folder '${folder}': ${words}.`,
      {
        advice: 'Check --email-folder and its permissions.',
      },
    )
  if (login) return new PutOff('RENDEZVOUS_UNREACHABLE', `${where} deferred the login: ${words}.`)
  const what = stage === 'folder' ? `cannot open the folder '${folder}' now` : 'is unavailable'
  return new PlexusError('RENDEZVOUS_UNREACHABLE', `${where} ${what}: ${words}.`)
}

function imapReplyOf(error: Thrown): ImapReply | undefined {
  const read = typeof error.response === 'string' ? readImapReply(error.response) : undefined
  if (read) return read
  if (error.responseStatus !== 'NO' && error.responseStatus !== 'BAD') return undefined
  const code =
    typeof error.serverResponseCode === 'string' ? error.serverResponseCode.toUpperCase() : undefined
  const text = String(error.responseText ?? '')
  return { status: error.responseStatus, code, words: [code && `[${code}]`, text].filter(Boolean).join(' ') }
}

/** What a server or a library said, in one line that ends without a full stop. */
function shown(said: unknown): string {
  const line = String(said)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
  const text = line.length > SHOWN ? `${line.slice(0, SHOWN)}…` : line
  return text.replace(/\.$/, '') || 'no reason given'
}
