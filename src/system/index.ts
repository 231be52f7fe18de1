export { systemBudget, systemCeilings } from './budget.js'
export { systemClock, systemRandom } from './clock.js'
export { systemGovernor } from './governor.js'
export { systemMachine } from './machine.js'
