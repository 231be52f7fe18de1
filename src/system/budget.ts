import { type Amounts, Budget, ceilingsOf } from '../budget/index.js'
import { systemMachine } from './machine.js'

/** What all peers together may use of this process, by what the system has given it. */
export function systemCeilings(): Amounts {
  return ceilingsOf(systemMachine())
}

/** The one budget of this process: the command line and the library pass it on as a value. */
export const systemBudget = new Budget(systemCeilings())
