import type { Outside } from '../../assembly/index.js'
import type { Logger } from '../../net/index.js'
import { systemClock, systemRandom } from '../clock.js'

/** What this process gives to what it runs, beside settings. */
export function outsideWith(log: Logger): Outside {
  return { clock: systemClock, random: systemRandom, log, environment: process.env }
}
