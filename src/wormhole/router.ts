import type { Duplex } from 'node:stream'
import type { Header } from './header.js'
import type { Service } from './service.js'
import type { Share } from './share.js'

/** What a peer asks for with a stream or a flow, over a tunnel that has proven who it is. */
export interface StreamRequest extends Header {
  /** `owner/pin`; empty where a tunnel was made by hand and nobody has a name. */
  readonly peer: string
}

/** What becomes of it. A sentence is told to the peer. */
export type Route =
  | { readonly kind: 'service'; readonly service: Service }
  | { readonly kind: 'handler'; readonly handle: (stream: Duplex) => void }
  | {
      readonly kind: 'refused'
      readonly code: 'SERVICE_DENIED' | 'SERVICE_UNKNOWN'
      readonly sentence: string
    }

/** Decides on each stream and each flow that the peer opens; nothing is opened for it before. */
export type Router = (request: StreamRequest) => Route | Promise<Route>

const OTHER_KIND: Route = {
  kind: 'refused',
  code: 'SERVICE_UNKNOWN',
  sentence: 'The service with that name is of another type: one side has it as udp:, the other does not.',
}

/** The exports that a peer may use. */
export function exportsFor(exports: readonly Share[], peer: string): readonly Share[] {
  return exports.filter(({ peers }) => peers.length === 0 || peers.includes(peer))
}

/**
 * The router of a list of exports: by name, for those peers that each is for. A number that is no name is the port of a
 * service. A peer that a service is not for is told the same as of one that does not exist.
 */
export function byName(exports: readonly Share[]): Router {
  return ({ peer, name, carries }) => {
    const allowed = exportsFor(exports, peer)
    const found =
      name === '' && allowed.length === 1
        ? allowed[0]
        : (allowed.find((one) => one.name === name) ?? onlyAtPort(allowed, name))
    return found ? ofKind(found.service, carries) : unknown(allowed)
  }
}

function onlyAtPort(allowed: readonly Share[], name: string): Share | undefined {
  const [only, ...more] = allowed.filter(
    ({ service }) => service.kind !== 'unix' && String(service.port) === name,
  )
  return more.length === 0 ? only : undefined
}

function unknown(allowed: readonly Share[]): Route {
  const names = allowed.map(({ name }) => name).join(', ')
  const there =
    names === '' ? 'Nothing is exported to this peer.' : `The names exported to this peer: ${names}.`
  return { kind: 'refused', code: 'SERVICE_UNKNOWN', sentence: `No such service. ${there}` }
}

/** The router that has one service, whatever it is called. */
export function always(service: Service): Router {
  return ({ carries }) => ofKind(service, carries)
}

function ofKind(service: Service, carries: Header['carries']): Route {
  return (service.kind === 'udp') === (carries === 'datagrams') ? { kind: 'service', service } : OTHER_KIND
}
