export { Budget, Grant, type Refusal, Share } from './budget.js'
export { ceilingsOf, type Machine, TUNNEL_COST, UNBOUNDED } from './ceilings.js'
export { type LowLimit, limitsInWords, lowLimits } from './low-limits.js'
export { type Amounts, type Needs, RESOURCES, type Resource } from './resource.js'
