/** What the network of this machine does to UDP: measured, kept while the network stays the same, and put into words. */
export { allocationOf, mappingOf, poolingOf } from './classify.js'
export { Discovery, type DiscoveryOptions } from './discovery.js'
export { KINDS, kindOf, kindOfFamily, type NatKind } from './kind.js'
export { type MeasureOptions, measureNat } from './measure.js'
export { NatMemory, type NatMemoryOptions, parseRemembered, type Remembered } from './memory.js'
export { helpOf, type Reach, reachOf, type Way } from './reach.js'
export {
  behaviourOf,
  type FamilyReport,
  type Missing,
  type NatReport,
  type PortMappingFinding,
  type Sample,
  type ServerFinding,
  type UdpFinding,
  type Unasked,
  type Verdict,
} from './report.js'
export { type Depth, SOCKETS } from './sockets.js'
export { DISCOVERY_END } from './waits.js'
