import { limitsInWords, lowLimits } from '../../budget/index.js'
import { systemMachine } from '../../system/index.js'
import { type Finding, ok, warn } from './finding.js'

/** What the system lets this program have: by the same numbers the start bounds what peers may use. */
export function checkLimits(): Finding[] {
  const what = 'limits'
  const machine = systemMachine()
  const low = lowLimits(machine).map(({ sentence, advice }) => warn(what, sentence, advice))
  return low.length > 0 ? low : [ok(what, limitsInWords(machine))]
}
