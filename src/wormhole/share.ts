import { PlexusError } from '../errors/index.js'
import { nameOf, parseService, type Service } from './service.js'

/** A service under the name by which both sides know it. */
export interface Share {
  readonly name: string
  readonly service: Service
  /** Those that it is for, as they were written; for an export none is everybody who may pair. */
  readonly peers: readonly string[]
}

/** A name goes into every connection's header; without `=`, `,`, `:` and `/` nothing else is taken for one. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const NAMED = /^([^=:/,]*)=(.*)$/s
const PEER = /,peer=([^,]*)$/s

/**
 * Reads `[name=]service[,peer=name…]`. Without a name it is called by its port, or the name of its socket.
 * @throws PlexusError BAD_ENDPOINT
 */
export function parseShare(text: string): Share {
  const peers: string[] = []
  let rest = text
  for (let match = PEER.exec(rest); match; match = PEER.exec(rest)) {
    const peer = match[1] ?? ''
    if (peer === '') throw new PlexusError('BAD_ENDPOINT', `'${text}' has ,peer= without a peer.`)
    peers.unshift(peer)
    rest = rest.slice(0, match.index)
  }
  const stray = /,[a-z]+=/.exec(rest)
  if (stray) {
    throw new PlexusError(
      'BAD_ENDPOINT',
      `'${text}' has '${stray[0].slice(1)}', but only peer= is allowed there.`,
    )
  }
  const [, given, at = rest] = NAMED.exec(rest) ?? []
  const service = parseService(at)
  const name = given ?? nameOf(service)
  if (!NAME.test(name)) {
    const why = given === undefined ? 'its name cannot be used' : `'${name}' cannot be used`
    throw new PlexusError(
      'BAD_ENDPOINT',
      `'${text}' needs a name of up to 64 letters, digits, dots, dashes and underscores: ${why}.`,
    )
  }
  return { name, service, peers }
}

/** Reads the name of a service alone. @throws PlexusError BAD_ENDPOINT */
export function parseShareName(text: string): string {
  if (NAME.test(text)) return text
  throw new PlexusError('BAD_ENDPOINT', `'${text}' is not a valid service name.`)
}
