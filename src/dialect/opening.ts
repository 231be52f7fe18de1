import type { PairingContext } from '../pairing/index.js'
import type { LetterAccepter, LetterAccepterOptions } from './accepter.js'
import type { inviteByLetter as Invite } from './inviter.js'

/**
 * As `inviteByLetter` of the inviter. What reads and writes mail is loaded when it is wanted: most programs never do, and it
 * is a tenth of all that a start would load.
 */
export const inviteByLetter: typeof Invite = async (...args) => {
  const { inviteByLetter } = await import('./inviter.js')
  return await inviteByLetter(...args)
}

/** An accepter of letters; loaded likewise. */
export async function openLetterAccepter(
  context: PairingContext,
  options: LetterAccepterOptions,
): Promise<LetterAccepter> {
  const { LetterAccepter } = await import('./accepter.js')
  return new LetterAccepter(context, options)
}
