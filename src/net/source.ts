import { createSocket } from 'node:dgram'
import type { Endpoint } from './endpoint.js'
import { familyOf } from './endpoint.js'

/**
 * The address that the system would send from to reach an endpoint: the routing table's answer, found by connecting
 * a UDP socket, which sends nothing. Undefined when there is no route.
 */
export function sourceAddress(to: Endpoint): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(familyOf(to) === 4 ? 'udp4' : 'udp6')
    socket.once('error', () => {
      socket.close()
      resolve(undefined)
    })
    socket.connect(to.port, to.address, () => {
      const { address } = socket.address()
      socket.close()
      resolve(address)
    })
  })
}
