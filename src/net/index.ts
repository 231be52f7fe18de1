export { addressBytes, addressText } from './address-bytes.js'
export { broadController, type Clock, deadline, type Random, sleep } from './clock.js'
export { type Due, earliest, NEVER } from './due.js'
export {
  canonicalAddress,
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
  type HostPort,
  isPublic,
  parseEndpoint,
  parseHostPort,
  prefixOf,
  type Scope,
  sameEndpoint,
  scopeOf,
} from './endpoint.js'
export {
  type Allowance,
  GOVERNOR_LIMITS,
  Governor,
  type PacketPurpose,
} from './governor.js'
export { interfacesRefused, type OwnAddress, ownAddresses } from './interfaces.js'
export { knock } from './knock.js'
export { type Logger, silent } from './log.js'
export {
  type Filtering,
  type Mapping,
  type NatBehaviour,
  type PortAllocation,
  UNKNOWN_NAT,
} from './nat-behaviour.js'
export { nativeAddon } from './native.js'
export { type Datagram, type DatagramListener, MAX_DATAGRAM, UdpPort } from './port.js'
export { PortRange } from './port-range.js'
export { sourceAddress } from './source.js'
export { type Limit, TokenBucket } from './token-bucket.js'
export { openUdx } from './udx-sockets.js'
