import type { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'

/** The end of a forwarded connection on this machine: a socket, or a program's own input and output. */
export interface Near {
  readonly readable: Readable
  readonly writable: Writable
  /** Ends it at once, so that whoever is at the other end of it sees that it was cut off and not that all was said. */
  abort(): void
}

/** A socket that is cut off by a reset (RST); on a unix socket, which knows none, by closing it. */
export function nearSocket(socket: Socket): Near {
  return {
    readable: socket,
    writable: socket,
    abort: () => {
      // only TCP has an address, and only while it is connected
      if (socket.remoteAddress !== undefined && !socket.destroyed) socket.resetAndDestroy()
      else socket.destroy()
    },
  }
}
