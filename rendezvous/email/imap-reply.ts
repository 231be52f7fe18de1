/** A command that a mailbox server did not carry out (RFC 9051, 7.1). */
export interface ImapReply {
  readonly status: 'NO' | 'BAD' | undefined
  /** The response code in capitals (RFC 5530). */
  readonly code: string | undefined
  readonly words: string
}

/** Refused at login: `login` is for a person to mend, `later` may pass. */
export type ImapVerdict = 'later' | 'login' | 'missing' | 'forbidden'

/** RFC 5530, 3. Whatever else a server may invent is passing, unless its words say otherwise. */
const LOGIN = new Set(['AUTHENTICATIONFAILED', 'AUTHORIZATIONFAILED', 'EXPIRED', 'PRIVACYREQUIRED'])
const PASSING = new Set([
  'UNAVAILABLE',
  'INUSE',
  'LIMIT',
  'OVERQUOTA',
  'SERVERBUG',
  'CORRUPTION',
  'THROTTLED',
])
const MISSING = new Set(['NONEXISTENT', 'TRYCREATE'])
const FORBIDDEN = new Set(['NOPERM', 'CANNOT'])

/** Servers that are older than these codes only have words. They are a guess: those that speak of a passing trouble win. */
const PASSING_WORDS =
  /too many|temporar|transient|later|unavailable|not available|internal|generic failure|server (?:error|bug|failure)|busy|overload|rate|limit|throttl|maximum|exceed|timed? ?out|maintenance|lock|backend|connect/i
const LOGIN_WORDS =
  /\b(?:authenticat\w*|log ?-?(?:in|on)|sign ?-?in|credentials?|passw\w*|user ?(?:name|id)?|account|imap|access)\b.{0,60}\b(?:fail\w*|invalid|incorrect|wrong|den(?:y|ied)|bad|reject\w*|refused|unknown|mismatch|not|required|needed|disabled|expired|suspended|blocked)\b|\b(?:invalid|incorrect|wrong|bad|unknown|no such|fail\w*)\b.{0,30}\b(?:credentials?|passw\w*|user\w*|log ?-?in|account|authenticat\w*)\b/i
const MISSING_WORDS =
  /\b(?:no such|unknown) (?:mailbox|folder)\b|\b(?:mailbox|folder)\b.{0,80}\b(?:does(?: not|n't) exist|not found|unknown)\b/i

/** @param response the tagged answer as it came, or as the library puts it together again */
export function readImapReply(response: string): ImapReply | undefined {
  const [, status, code, words = ''] =
    /^\S+ (NO|BAD)(?: \[([A-Z0-9-]+)[^\]]*\])?[ \t]*([^\r\n]*)/i.exec(response) ?? []
  if (status === undefined) return undefined
  const capitals = code?.toUpperCase()
  const text = words.trim().replace(/^"(.*)"$/, '$1')
  return {
    status: status.toUpperCase() as 'NO' | 'BAD',
    code: capitals,
    words: [capitals && `[${capitals}]`, text].filter(Boolean).join(' '),
  }
}

/** What a refusal means; what is not known may pass. @param stage `folder` while one is being opened */
export function judgeImap({ code = '', words }: ImapReply, stage: 'login' | 'folder' | 'other'): ImapVerdict {
  if (PASSING.has(code)) return 'later'
  if (LOGIN.has(code)) return 'login'
  if (stage === 'login') {
    if (code === 'CONTACTADMIN' || FORBIDDEN.has(code)) return 'login'
    return !PASSING_WORDS.test(words) && LOGIN_WORDS.test(words) ? 'login' : 'later'
  }
  if (stage !== 'folder') return 'later'
  if (FORBIDDEN.has(code)) return 'forbidden'
  return MISSING.has(code) || MISSING_WORDS.test(words) ? 'missing' : 'later'
}
