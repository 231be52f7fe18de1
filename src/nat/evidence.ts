import { formatEndpoint } from '../net/index.js'
import { isAlternate, type Question, said } from './question.js'
import type { ServerFinding } from './report.js'

/** What came of a server that could not be asked. */
export function findingOfName(name: string, why: string): ServerFinding {
  return { name, said: why, answered: false, behaviourDiscovery: false }
}

/** What came of a server that was asked. */
export function findingOf(name: string, { answer, to }: Question): ServerFinding {
  const other = answer.is === 'answered' ? answer.other : undefined
  const behaviourDiscovery = other !== undefined && isAlternate(to, other)
  return { name, said: said(answer), answered: answer.is === 'answered', behaviourDiscovery }
}

/**
 * A question and what came of it, as a line.
 * @param since when the discovery began, in ms
 * @param who the socket that asked, in words
 */
export function evidenceOf({ to, change, answer, started }: Question, since: number, who: string): string {
  const wanted = change ? `, answer wanted from another ${change.address ? 'address' : 'port'}` : ''
  const at = `+${Math.round(started - since)} ms`
  return `${at} ${who}, asked ${formatEndpoint(to)}${wanted}: ${said(answer)}`
}
