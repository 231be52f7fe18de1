import { request } from 'node:http'
import { PlexusError } from '../errors/index.js'
import { deadline } from '../net/index.js'
import type { MapperContext } from './protocol.js'

/** The longest answer that is read, in bytes: descriptions of routers are some 10 kB. */
const MAX_ANSWER = 131_072

/** How long a router may take to answer, in ms: small ones write to their flash memory meanwhile. */
const PATIENCE = 3000

export interface HttpAnswer {
  readonly status: number
  readonly text: string
}

/**
 * One request to the router, over a connection of its own; redirections are not followed.
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
  const body = post && Buffer.from(post.body)
  try {
    limit.signal.throwIfAborted()
    return await new Promise<HttpAnswer>((resolve, reject) => {
      const sent = request(url, {
        method: post ? 'POST' : 'GET',
        agent: false,
        localAddress: gateway.own,
        family: 4,
        signal: limit.signal,
        headers: {
          connection: 'close',
          ...(post && body
            ? {
                soapaction: `"${post.action}"`,
                'content-type': 'text/xml; charset="utf-8"',
                'content-length': body.length,
              }
            : {}),
        },
      })
      const fail = (cause: unknown) => {
        sent.destroy()
        reject(limit.signal.aborted ? limit.signal.reason : wrong('it broke off', cause))
      }
      sent.once('error', fail)
      sent.once('response', (response) => {
        const parts: Buffer[] = []
        let length = 0
        response.on('data', (part: Buffer) => {
          length += part.length
          if (length > MAX_ANSWER) fail(wrong('it is too long'))
          else parts.push(part)
        })
        response.once('error', fail)
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }),
        )
        response.once('close', () => fail(wrong('it broke off')))
      })
      sent.end(body)
    })
  } finally {
    limit.dispose()
  }
}

function wrong(why: string, cause?: unknown): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router's answer over HTTP is of no use: ${why}.`, { cause })
}
