import type { Needs } from '../budget/index.js'
import { PlexusError } from '../errors/index.js'
import { formatEndpoint, parseHostPort, scopeOf } from '../net/index.js'

/** Where a service is, or where one is offered: a TCP port, a unix socket (a stream), or a UDP port. */
export type Service =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'udp'; readonly host: string; readonly port: number }

/** Where a port is meant to be when no host is named: on this machine, and for nobody else. */
const HERE = '127.0.0.1'

/** ms */
const TIME_WAIT = 60_000

/** The longest path of a unix socket, in bytes: sun_path of unix(7), with its final zero. */
const LONGEST_PATH = 107

/**
 * Reads `[host:]port`, `udp:[host:]port` or `unix:/path`.
 * @throws PlexusError BAD_ENDPOINT
 */
export function parseService(text: string): Service {
  if (text.startsWith('unix:')) return { kind: 'unix', path: socketPath(text, text.slice(5)) }
  const udp = text.startsWith('udp:')
  const { host, port } = hostPort(text, text.slice(udp ? 4 : text.startsWith('tcp:') ? 4 : 0))
  return { kind: udp ? 'udp' : 'tcp', host, port }
}

/** As it was written, with the host. */
export function formatService(service: Service): string {
  if (service.kind === 'unix') return `unix:${service.path}`
  const at = formatEndpoint({ address: service.host, port: service.port })
  return service.kind === 'udp' ? `udp:${at}` : at
}

/** What a connection or a flow to a service takes of this process. */
export function costOf({ kind }: Service): Needs {
  return { descriptors: 1, ports: kind === 'unix' ? 0 : 1 }
}

/**
 * For how long the system does not give out the port of a connection again once it is closed, in ms: 60 s (TIME_WAIT), but
 * on the loopback, where Linux reuses it (tcp_tw_reuse).
 */
export function lingersOf(service: Service): number {
  if (service.kind !== 'tcp' || service.host === 'localhost') return 0
  return scopeOf(service.host) === 'loopback' ? 0 : TIME_WAIT
}

/** What a service is called that nobody gave a name: the number of its port, or the name of its socket. */
export function nameOf(service: Service): string {
  return service.kind === 'unix' ? (service.path.split('/').at(-1) ?? '') : String(service.port)
}

function hostPort(whole: string, text: string): { host: string; port: number } {
  if (/^\d+$/.test(text)) return parseHostPort(`${HERE}:${text}`)
  try {
    return parseHostPort(text)
  } catch (cause) {
    throw new PlexusError('BAD_ENDPOINT', `'${whole}' is not [host:]port, udp:[host:]port or unix:/path.`, {
      cause,
    })
  }
}

function socketPath(whole: string, path: string): string {
  if (path.startsWith('/') && path.length > 1 && !path.includes('\0')) {
    if (Buffer.byteLength(path) <= LONGEST_PATH) return path
    throw new PlexusError('BAD_ENDPOINT', `The path in '${whole}' is longer than ${LONGEST_PATH} bytes.`)
  }
  throw new PlexusError(
    'BAD_ENDPOINT',
    `'${whole}' does not name an absolute path, as in unix:/run/service.sock.`,
  )
}
