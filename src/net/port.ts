import type UDX from 'udx-native'
import type { UDXSocket } from 'udx-native'
import { codeOf, PlexusError } from '../errors/index.js'
import { canonicalAddress, type Endpoint, type Family, familyOf, formatEndpoint } from './endpoint.js'
import { openUdx } from './udx-sockets.js'

/** One UDP datagram as it came in. `data` stays valid; it is not reused. */
export interface Datagram {
  readonly data: Buffer
  readonly from: Endpoint
}

export type DatagramListener = (datagram: Datagram) => void

/** The largest UDP payload that is sent: what fits an IPv6 minimum MTU of 1280 bytes. */
export const MAX_DATAGRAM = 1232

let udx: UDX | undefined

/**
 * One local UDP port, with a socket for each address family it could get: never `::` for IPv4, on which the
 * per-packet TTL would silently be ignored, and never with SO_REUSEPORT.
 */
export class UdpPort {
  readonly #sockets: ReadonlyMap<Family, UDXSocket>
  readonly #listeners = new Set<DatagramListener>()
  #closing: Promise<void> | undefined
  /** Resolves when the port is closed. */
  readonly closed: Promise<void>
  #closed: () => void = () => {}
  /** Datagrams and bytes in and out, for the log and the benchmarks. */
  readonly traffic = { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0 }

  private constructor(sockets: Map<Family, UDXSocket>) {
    this.#sockets = sockets
    this.closed = new Promise((resolve) => {
      this.#closed = resolve
    })
    for (const socket of sockets.values()) {
      socket.on('message', (data, from) => {
        this.traffic.received++
        this.traffic.bytesReceived += data.length
        const datagram = { data, from: { address: canonicalAddress(from.host), port: from.port } }
        for (const listener of [...this.#listeners]) listener(datagram)
      })
    }
  }

  /**
   * Binds a UDP port.
   * @param options.address only this address, and so only its family; without it all addresses of both families
   * @param options.port 0, the default, lets the system choose; IPv6 takes the same number when it is free
   * @throws PlexusError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE, NATIVE_ADDON, SYSTEM_LIMIT
   */
  static open(options: { address?: string; port?: number } = {}): UdpPort {
    const { address, port = 0 } = options
    udx ??= openUdx() as UDX
    const sockets = new Map<Family, UDXSocket>()
    if (address !== undefined) {
      const bare = canonicalAddress(address)
      sockets.set(familyOf({ address: bare }), bound(udx, bare, port))
      return new UdpPort(sockets)
    }
    const v4 = bound(udx, '0.0.0.0', port)
    sockets.set(4, v4)
    const chosen = v4.address()?.port ?? 0
    for (const wanted of port === 0 ? [chosen, 0] : [port]) {
      try {
        sockets.set(6, bound(udx, '::', wanted))
        break
      } catch {
        // no IPv6 on this machine, or the number is taken there: IPv4 alone will do
      }
    }
    return new UdpPort(sockets)
  }

  /** The families that this port can send on. */
  get families(): Family[] {
    return [...this.#sockets.keys()]
  }

  /** What the port is bound to for a family: its address may be the unspecified one. */
  local(family: Family): Endpoint | undefined {
    const address = this.#sockets.get(family)?.address()
    return address ? { address: address.host, port: address.port } : undefined
  }

  /**
   * Sends one datagram. Loss is silent, as it is on the network; a packet that the system refuses is lost too.
   * @param ttl hop limit of this packet, in hops; without it the system's default
   */
  send(data: Uint8Array, to: Endpoint, ttl = 0): void {
    const socket = this.#sockets.get(familyOf(to))
    if (!socket || this.#closing || to.port === 0) return
    this.traffic.sent++
    this.traffic.bytesSent += data.length
    try {
      socket.trySend(data, to.port, to.address, ttl)
    } catch {
      // an address that the system cannot send to is a path that does not work
    }
  }

  /**
   * Asks the system to keep more datagrams that come and go while the process does something else; it gives what its
   * limits allow (net.core.rmem_max and wmem_max on Linux).
   */
  enlarge(bytes: number): void {
    for (const socket of this.#sockets.values()) {
      try {
        if (socket.getRecvBufferSize() < bytes) socket.setRecvBufferSize(bytes)
        if (socket.getSendBufferSize() < bytes) socket.setSendBufferSize(bytes)
      } catch {
        // then it stays as it is
      }
    }
  }

  /** Calls `listener` for every datagram until the returned function is called. */
  listen(listener: DatagramListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Closes the port; when it resolves another process can bind it. */
  close(): Promise<void> {
    this.#closing ??= Promise.all([...this.#sockets.values()].map((socket) => socket.close())).then(() => {
      this.#listeners.clear()
      this.#closed()
    })
    return this.#closing
  }
}

function bound(udx: UDX, address: string, port: number): UDXSocket {
  const socket = udx.createSocket({ ipv6Only: familyOf({ address }) === 6 })
  try {
    socket.bind(port, address)
    return socket
  } catch (cause) {
    void socket.close()
    const name = formatEndpoint({ address, port })
    const code = codeOf(cause)
    if (code === 'EADDRNOTAVAIL') {
      throw new PlexusError('ADDRESS_UNAVAILABLE', `${name} is not an address of this machine.`, { cause })
    }
    const what =
      port === 0 ? `A UDP port of ${address} cannot be bound` : `The UDP port ${name} cannot be bound`
    throw new PlexusError('ADDRESS_IN_USE', `${what} (${code ?? cause}).`, { cause })
  }
}
