import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { PlexusError } from '../errors/index.js'
import { sleep } from '../net/index.js'
import type { MapperContext } from './protocol.js'

/** Where a router listens for NAT-PMP and PCP (RFC 6886 section 3.1, RFC 6887 section 19.1). */
const PORT = 5351

/**
 * Waits for an answer, in ms: RFC 6886 section 3.1 begins with 250 and doubles, nine times. A router in the same
 * room answers at once or never, so four have to do.
 */
const WAITS: readonly number[] = [250, 500, 1000, 2000]

/** What is asked of the router, and what is made of its answers. */
export interface Questions {
  /** Those that have no answer yet; sent again and again until there are none. */
  open(): readonly Buffer[]
  /** Takes a datagram of the router. @throws PlexusError if the router declines */
  take(data: Buffer): void
  /** What is thrown if it does not answer. */
  unanswered(): PlexusError
}

/**
 * Sends the questions to the router until each has its answer.
 * @throws PlexusError of the questions, or the signal's reason
 */
export async function exchange(
  { clock, gateway }: Pick<MapperContext, 'clock' | 'gateway'>,
  questions: Questions,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  const socket = await connected(gateway, questions)
  const enough = new AbortController()
  const onabort = () => enough.abort(signal.reason)
  signal.addEventListener('abort', onabort, { once: true })
  let failure: unknown
  const over = (error?: unknown) => {
    failure ??= error
    enough.abort()
  }
  socket.on('error', () => over(questions.unanswered()))
  socket.on('message', (data) => {
    try {
      questions.take(data)
    } catch (thrown) {
      over(thrown)
    }
    if (questions.open().length === 0) over()
  })
  try {
    for (const wait of WAITS) {
      for (const request of questions.open()) {
        // that the port is closed is told to whichever call comes next
        socket.send(request, (error) => error && over(questions.unanswered()))
      }
      await sleep(clock, wait, enough.signal).catch(() => {})
      if (enough.signal.aborted) break
    }
    signal.throwIfAborted()
    if (failure) throw failure
    if (questions.open().length > 0) throw questions.unanswered()
  } finally {
    signal.removeEventListener('abort', onabort)
    socket.removeAllListeners('message')
    // an ICMP error may still be on the way to a socket that is being closed
    socket.on('error', () => {})
    socket.close()
  }
}

/** A socket to which the system delivers what the router sends from this port, and nothing else. */
function connected({ own, address }: MapperContext['gateway'], questions: Questions): Promise<Socket> {
  const socket = createSocket(isIPv6(own) ? 'udp6' : 'udp4')
  return new Promise((resolve, reject) => {
    const fail = () => {
      socket.close()
      reject(questions.unanswered())
    }
    socket.once('error', fail)
    socket.bind(0, own, () => {
      socket.connect(PORT, address, (error?: Error) => {
        socket.off('error', fail)
        if (error) fail()
        else resolve(socket)
      })
    })
  })
}
