import { connect, type Socket } from 'node:net'
import { PlexusError } from '../errors/index.js'
import type { Clock } from '../net/index.js'
import type { Service } from './service.js'

/** How long a service may take to answer, in ms: a first SYN and three more (RFC 6298), at 0, 1, 3 and 7 s. */
const PATIENCE = 10_000

/** How long a connection may be silent before the system asks whether its end is still there, in ms. */
const KEEP_ALIVE = 60_000

/** What a connection to a service is made with: bytes go out at once, each direction ends by itself, and a dead end is noticed. */
export const SOCKET_OPTIONS = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE,
} as const

/** Nothing is read before it is wanted. (The declarations of `connect` leave out what it hands on to the stream.) */
const UNBUFFERED: object = { readableHighWaterMark: 0 }

/** What the system says when there is nobody at an address: a port that is shut, a socket that is not there or that nobody has open. */
const REFUSALS: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'ENOTSOCK'])

/**
 * Connects to a service.
 * @throws PlexusError SERVICE_REFUSED, SERVICE_UNREACHABLE, or the signal's reason. The sentence has the system's word for
 *   it and no address: the peer is told
 */
export function dial(
  service: Exclude<Service, { kind: 'udp' }>,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const at = service.kind === 'unix' ? { path: service.path } : { host: service.host, port: service.port }
    const socket = connect({ ...at, ...SOCKET_OPTIONS, ...UNBUFFERED })
    const fail = (reason: unknown) => {
      settle()
      socket.destroy()
      reject(reason)
    }
    const onabort = () => fail(signal.reason)
    const onerror = (cause: Error) => fail(failure(cause))
    const onconnect = () => {
      settle()
      resolve(socket)
    }
    const cancel = clock.timer(PATIENCE, () =>
      fail(new PlexusError('SERVICE_UNREACHABLE', `It did not answer in ${PATIENCE / 1000} s.`)),
    )
    const settle = () => {
      cancel()
      signal.removeEventListener('abort', onabort)
      socket.off('error', onerror).off('connect', onconnect)
      socket.on('error', () => {}) // from here on whoever has it listens; one that failed has no more to say
    }
    socket.once('error', onerror).once('connect', onconnect)
    signal.addEventListener('abort', onabort, { once: true })
  })
}

function failure(cause: Error): PlexusError {
  const code = firstCode(cause)
  // it was to be any address of this machine, and any port
  if (code === 'EADDRNOTAVAIL') {
    const sentence = `There is no free local port or address to reach it from (${code}).`
    return new PlexusError('SERVICE_UNREACHABLE', sentence, { cause })
  }
  return REFUSALS.has(code)
    ? new PlexusError('SERVICE_REFUSED', `It refused the connection (${code}).`, { cause })
    : new PlexusError('SERVICE_UNREACHABLE', `It cannot be reached (${code}).`, { cause })
}

/** Of several addresses that were tried, the code of the first. */
function firstCode(cause: unknown): string {
  const { code, errors } = cause as { code?: unknown; errors?: unknown[] }
  if (typeof code === 'string') return code
  return errors?.length ? firstCode(errors[0]) : 'unknown'
}
