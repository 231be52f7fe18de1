import { connect } from 'node:net'
import type { Endpoint } from '../net/index.js'

/**
 * Whether a host is there for TCP: a refusal says so as well as a connection. Nothing is sent over it.
 * @returns false too when the signal aborts; never rejects
 */
export function answersTcp({ address, port }: Endpoint, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false)
    const socket = connect({ host: address, port })
    const end = (reached: boolean) => {
      signal.removeEventListener('abort', onabort)
      socket.destroy()
      resolve(reached)
    }
    const onabort = () => end(false)
    signal.addEventListener('abort', onabort, { once: true })
    socket.once('connect', () => end(true))
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED'))
  })
}
