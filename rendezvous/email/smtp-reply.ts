/** An answer of a submission server (RFC 5321, 4.2), with the enhanced code that may stand in it (RFC 2034). */
export interface SmtpReply {
  readonly code: number
  /** Class, subject and detail (RFC 3463). */
  readonly enhanced: readonly [number, number, number] | undefined
  /** All of it, in one line, without what every line repeats. */
  readonly words: string
}

/** What an answer that is no success means: try again, the login is at fault, or this mail is never taken. */
export type Verdict = 'later' | 'login' | 'never'

/**
 * What RFC 3463 calls useful only as a persistent transient error, by subject and detail: a full mailbox, a full system, and
 * all that is wrong with the network. A server that puts a 5 before it means only that it will not try by itself.
 */
const TRANSIENT = new Set(['2.2', '3.1', '4.1', '4.2', '4.3', '4.5', '4.6', '4.7'])
/** The same in words, where there is no enhanced code. */
const FULL = /\bquota\b|\bmailbox (?:is )?full\b|\binsufficient (?:system )?storage\b/i
/** Codes that speak of the login at every stage (RFC 4954, 6). */
const LOGIN = new Set([530, 534, 535, 538])

/** @returns nothing for what does not begin like an answer */
export function readSmtpReply(response: string): SmtpReply | undefined {
  const lines = response
    .split(/\r?\n/)
    .map((line) => /^(\d{3})(?:[ -]|$)(?:([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|$))?(.*)$/.exec(line.trim()))
  const [first] = lines
  if (!first) return undefined
  const code = Number(first[1])
  const [, , ...digits] = lines.find((line) => line?.[2] !== undefined)?.slice(0, 5) ?? []
  const [klass, subject, detail] = digits.map(Number)
  const enhanced =
    klass === undefined || subject === undefined || detail === undefined
      ? undefined
      : ([klass, subject, detail] as const)
  const texts = lines.map((line) => line?.[5]?.trim() ?? '').filter((text) => text !== '')
  return { code, enhanced, words: [code, enhanced?.join('.') ?? '', ...texts].filter(Boolean).join(' ') }
}

/**
 * The first digit decides, as RFC 5321 (4.2.1) wants: 4 is passing and 5 is final, at every stage and for every code that is not known;
 * but for the few that can only be passing. What is no failure at all comes from a server that is out of step: later.
 * @param stage `login` while it is being logged in
 */
export function judgeSmtp({ code, enhanced, words }: SmtpReply, stage: 'login' | 'other'): Verdict {
  if (code < 500 || code > 599) return 'later'
  const [klass, subject, detail] = enhanced ?? []
  if (klass === 4 || TRANSIENT.has(`${subject}.${detail}`)) return 'later'
  if (enhanced === undefined && stage === 'other' && (code === 552 || FULL.test(words))) return 'later'
  return stage === 'login' || LOGIN.has(code) ? 'login' : 'never'
}

/** What a person can do about a mail that is never taken, by the subject of the enhanced code. */
export function smtpAdvice({ code, enhanced }: SmtpReply): string {
  const subject = enhanced?.[1]
  if (subject === 7)
    return 'A policy of the server rejects it: see its message, or ask its administrator. Check that the account may send as the owner of your identity.'
  if (subject === 1 || (subject === undefined && (code === 550 || code === 553)))
    return 'Check that the owners of both identities are email addresses, and that the account may send as the owner of your identity.'
  return 'See the message of the server, or ask its administrator.'
}
