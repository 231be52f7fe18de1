export { systemClock, systemRandom } from './clock.js'
export { systemGovernor } from './governor.js'
