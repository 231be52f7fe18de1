import { connect } from 'node:net'
import { PlexusError } from '../errors/index.js'
import { deadline, scopeOf } from '../net/index.js'
import { type HttpAnswer, readAnswer } from './answer.js'
import type { Gateway } from './gateway.js'
import type { MapperContext } from './protocol.js'

/** The longest answer that is read, in bytes: descriptions of routers are some 10 kB. */
const MAX_ANSWER = 131_072

/** How long a router may take to answer, in ms: small ones write to their flash memory meanwhile. */
const PATIENCE = 3000

/** What may be all of an answer is taken for all of it when nothing more comes for so long, in ms. */
const QUIET = 200
/** And what looks unfinished, when a router neither goes on nor closes. */
const STUCK = 1500

/**
 * One request to the router, over a connection of its own; redirections are not followed. It is written by hand, in one
 * piece, because web servers in routers know the names of headers in one spelling only, and answer in forms that no strict
 * parser takes.
 * @throws PlexusError PORT_MAPPING, or the signal's reason
 */
export async function ask(
  { clock, gateway }: MapperContext,
  url: URL,
  post: { readonly action: string; readonly body: string } | undefined,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const silent = () => new PlexusError('PORT_MAPPING', 'The router does not answer over HTTP.')
  const limit = deadline(clock, PATIENCE, signal, silent)
  try {
    limit.signal.throwIfAborted()
    return await new Promise<HttpAnswer>((resolve, reject) => {
      const socket = connect({
        host: hostOf(url, gateway),
        port: url.port === '' ? 80 : Number(url.port),
        localAddress: gateway.own,
      })
      let data = Buffer.alloc(0)
      let cancel = () => {}
      const over = (finish: () => void) => {
        cancel()
        limit.signal.removeEventListener('abort', onabort)
        socket.destroy()
        finish()
      }
      const fail = (error: unknown) => over(() => reject(error))
      const onabort = () => fail(limit.signal.reason)
      limit.signal.addEventListener('abort', onabort, { once: true })
      const finish = (cause?: unknown) => {
        const { answer } = readAnswer(data)
        if (answer && answer.status > 0) over(() => resolve(answer))
        else fail(wrong(data.length === 0 ? 'it broke off' : 'it is not HTTP', cause))
      }
      socket.on('data', (part: Buffer) => {
        if (data.length + part.length > MAX_ANSWER) return fail(wrong('it is too long'))
        data = Buffer.concat([data, part])
        const { is, answer } = readAnswer(data)
        if (is === 'complete') return finish()
        cancel()
        cancel = answer ? clock.timer(is === 'perhaps' ? QUIET : STUCK, () => finish()) : () => {}
      })
      // a router that resets the connection after its answer has answered
      socket.once('error', finish)
      socket.once('close', () => finish())
      socket.write(requestOf(url, post))
    })
  } finally {
    limit.dispose()
  }
}

/** What to connect to: a link-local address needs the interface that it is behind. */
function hostOf({ hostname }: URL, gateway: Gateway): string {
  const host = hostname.replace(/^\[|\]$/g, '')
  return scopeOf(host) === 'link-local' && gateway.interface !== undefined
    ? `${host}%${gateway.interface}`
    : host
}

/** Header names in the spelling of the UPnP Device Architecture: some routers know no other. */
function requestOf(url: URL, post: { readonly action: string; readonly body: string } | undefined): string {
  const lines = [
    `${post ? 'POST' : 'GET'} ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    'User-Agent: UPnP/1.1 plexus',
    'Connection: close',
    ...(post
      ? [
          'Content-Type: text/xml; charset="utf-8"',
          `Content-Length: ${Buffer.byteLength(post.body)}`,
          `SOAPAction: "${post.action}"`,
        ]
      : []),
  ]
  return `${lines.join('\r\n')}\r\n\r\n${post?.body ?? ''}`
}

function wrong(why: string, cause?: unknown): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router's HTTP answer cannot be used: ${why}.`, { cause })
}
