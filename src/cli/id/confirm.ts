import { createInterface } from 'node:readline/promises'
import { PlexusError } from '../../errors/index.js'

/**
 * Asks on the terminal and returns when the answer is yes; the default is no.
 * @param instead what a script does instead, as advice
 * @throws PlexusError NOT_CONFIRMED when the answer is no, or standard input is no terminal
 */
export async function confirm(question: string, instead: string): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new PlexusError('NOT_CONFIRMED', 'Cannot ask for confirmation: standard input is not a terminal.', {
      advice: instead,
    })
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')))
    const answer = await Promise.race([terminal.question(`${question} [y/N] `), closed])
    if (/^y(es)?$/i.test(answer.trim())) return
  } finally {
    terminal.close()
  }
  throw new PlexusError('NOT_CONFIRMED', 'The answer was not y: nothing was changed.')
}
