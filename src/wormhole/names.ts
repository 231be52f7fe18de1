import type { Duplex } from 'node:stream'
import { type Clock, sleep } from '../net/index.js'
import { encodeHeader } from './header.js'
import { parseShareName } from './share.js'
import type { Tunnel, TunnelStream } from './tunnel/index.js'

/** The longest list that is read or written, in bytes. */
const LONGEST = 16_384

/** How long a list may take, in ms. */
const PATIENCE = 5000

/** Answers what may be used here, a name a line, and ends the stream. */
export function answerNames(stream: Duplex, names: readonly string[]): void {
  let text = ''
  for (const name of names) {
    if (text.length + name.length + 1 > LONGEST) break
    text += `${name}\n`
  }
  stream.resume()
  stream.end(text)
}

/**
 * Asks the peer which of its services this side may use.
 * @returns undefined if the peer does not know the question, or does not answer it as it should
 */
export async function askNames(tunnel: Tunnel, clock: Clock): Promise<string[] | undefined> {
  let stream: TunnelStream
  try {
    stream = tunnel.open(encodeHeader({ carries: 'names', name: '' }))
  } catch {
    return undefined
  }
  const late = new AbortController()
  sleep(clock, PATIENCE, late.signal).then(
    () => stream.destroy(),
    () => {},
  )
  try {
    stream.end()
    let text = ''
    for await (const part of stream) {
      text += String(part)
      if (text.length > LONGEST) return undefined
    }
    // what is no name of a service would not be one in the log either
    return text.split('\n').filter(Boolean).map(parseShareName)
  } catch {
    return undefined
  } finally {
    late.abort()
    stream.destroy()
  }
}
