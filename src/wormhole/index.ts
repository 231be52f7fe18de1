export { dial } from './dial.js'
export { type CarryEnd, Forwarding, type ForwardingPlan, type Import } from './forwarding.js'
export { Link, type Listening } from './link.js'
export { type Near, nearSocket } from './near.js'
export { always, byName, type Route, type Router, type StreamRequest } from './router.js'
export { formatService, parseService, type Service } from './service.js'
export { parseShare, parseShareName, type Share } from './share.js'
export { through } from './through.js'
export {
  openTunnel,
  type ProofSignature,
  requireTunnels,
  type Tunnel,
  type TunnelFlow,
  type TunnelOptions,
  type TunnelOver,
  type TunnelStats,
  type TunnelStream,
  upkeepBudgetOf,
  type Verdict,
  type Witness,
} from './tunnel/index.js'
