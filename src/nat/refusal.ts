import { createSocket } from 'node:dgram'
import { type Endpoint, familyOf } from '../net/index.js'

/** How often the question is put, and how long between, in ms: the first datagram, or what comes back of it, may be lost. */
const TRIES = 3
const GAP = 150

/**
 * Whether a datagram to an endpoint comes back as refused: an ICMP message (port unreachable), which the sockets that
 * punch never see. A connected socket is told of it by the system.
 * @param data what to ask with
 * @param wait calls back after so many ms, until the returned function is called
 * @returns false too when the signal aborts; never rejects
 */
export function refusesUdp(
  to: Endpoint,
  data: Uint8Array,
  wait: (ms: number, callback: () => void) => () => void,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false)
    const socket = createSocket(familyOf(to) === 4 ? 'udp4' : 'udp6')
    let cancel = () => {}
    let state: 'asking' | 'over' = 'asking'
    const end = (refused: boolean) => {
      if (state === 'over') return
      state = 'over'
      cancel()
      signal.removeEventListener('abort', onabort)
      socket.close()
      resolve(refused)
    }
    const onabort = () => end(false)
    signal.addEventListener('abort', onabort, { once: true })
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED'))
    // an answer is no refusal
    socket.on('message', () => end(false))
    const ask = (left: number) => {
      if (left === 0) return end(false)
      socket.send(data, (error) => {
        if ((error as NodeJS.ErrnoException | null)?.code === 'ECONNREFUSED') end(true)
      })
      cancel = wait(GAP, () => ask(left - 1))
    }
    socket.connect(to.port, to.address, () => ask(TRIES))
  })
}
