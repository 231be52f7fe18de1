import type { FilterTest } from './filter-test.js'
import type { HairpinTest } from './hairpin-test.js'
import type { HopTest } from './hop-test.js'
import type { QuestionWhy } from './question.js'

/** After so long it is over, whatever is still open, in ms: a person waits for it, and an answer that late says little. */
export const DISCOVERY_END = 2600

/** How long other servers may still answer when one has, in ms, and two that are at different addresses. */
export const GRACE = { one: 1200, two: 300 } as const

/** How long a packet may be on its way until it counts as filtered, in ms, and by the round trip. */
export const WAIT = { least: 400, most: 800, roundTrips: 3 } as const

/** What a discovery waits to do: `settle` for the servers that have answered, `end` with what is known. */
export type DiscoveryWhy =
  | QuestionWhy
  | FilterTest['due']['why']
  | HairpinTest['due']['why']
  | HopTest['due']['why']
  | 'settle'
  | 'end'
