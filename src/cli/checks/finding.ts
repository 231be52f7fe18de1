import { asPlexusError, type ErrorCode, PlexusError } from '../../errors/index.js'

/** What one look has shown. */
export interface Finding {
  readonly state: 'ok' | 'warn' | 'FAIL'
  /** What was looked at: `repository`, `key`, `STUN`. */
  readonly what: string
  /** What was found, with a full stop. */
  readonly sentence: string
  /** What to do about it. */
  readonly advice?: string
  readonly code?: ErrorCode
}

export function ok(what: string, sentence: string): Finding {
  return { state: 'ok', what, sentence }
}

export function warn(what: string, sentence: string, advice: string): Finding {
  return { state: 'warn', what, sentence, advice }
}

/** What was thrown, as a finding. @param state `warn` when a pairing may come about all the same */
export function found(what: string, thrown: unknown, state: 'warn' | 'FAIL' = 'FAIL'): Finding {
  const { message, advice, code } = asPlexusError(thrown)
  return { state, what, sentence: message, advice, code }
}

/** 0 if nothing failed, 2 if the configuration has to be changed, 1 if what failed may pass later. */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  const failed = findings.filter(({ state }) => state === 'FAIL')
  if (failed.length === 0) return 0
  const usage = failed.some(({ code }) => code !== undefined && new PlexusError(code, '').exitCode === 2)
  return usage ? 2 : 1
}
