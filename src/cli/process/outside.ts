import type { Outside } from '../../assembly/index.js'
import type { Logger } from '../../net/index.js'
import { systemBudget, systemGovernor } from '../../system/index.js'
import { systemClock, systemRandom } from '../clock.js'

/** What this process gives to what it runs, beside settings. */
export function outsideWith(log: Logger): Outside {
  const { env: environment } = process
  return {
    clock: systemClock,
    random: systemRandom,
    log,
    governor: systemGovernor,
    budget: systemBudget,
    environment,
  }
}
