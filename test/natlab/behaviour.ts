import type { SocketAgent } from './remote-socket.js'

/** What a NAT does, in the words of RFC 4787 sections 4 and 5. */
export interface Behaviour {
  readonly mapping: 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'
  readonly filtering: 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'
  /** Whether the outside port was the inside one. */
  readonly preserved: boolean
}

/** Ports of the servers, of no meaning. */
const PORT = 5001
const OTHER_PORT = 5002

/** How long anything may take that has to come, in milliseconds: far more than it needs, on a loaded machine too. */
const PATIENCE = 10_000

/**
 * Finds out what is between a host and the internet, as RFC 5780 section 4 does, but with both ends in one hand: the
 * server tells where a datagram came from, and sends from wherever it is asked to. That something does not come is
 * known when a datagram comes that was sent after it, from a server that the host has spoken to.
 * @param host an agent behind the NAT
 * @param server an agent on a machine with these three addresses
 */
export async function measureBehaviour(
  host: SocketAgent,
  server: SocketAgent,
  addresses: readonly [string, string, string],
): Promise<Behaviour> {
  const signal = AbortSignal.timeout(PATIENCE)
  const [first, second, third] = addresses
  const [primary, otherPort, otherAddress, sentinel] = await Promise.all([
    server.open(first, PORT),
    server.open(first, OTHER_PORT),
    server.open(second, PORT),
    server.open(third, PORT),
  ])
  const [prober, target] = await Promise.all([host.open(), host.open()])
  try {
    const seen = async (from: typeof prober, at: typeof primary, address: string, text: string) => {
      await from.send(text, { address, port: at.port })
      return (await at.receive(text, signal)).from
    }
    const a = await seen(prober, primary, first, 'mapping 1')
    const b = await seen(prober, otherPort, first, 'mapping 2')
    const c = await seen(prober, otherAddress, second, 'mapping 3')
    const mapping =
      a.port === b.port && a.port === c.port
        ? 'endpoint-independent'
        : a.port === b.port
          ? 'address-dependent'
          : 'address-and-port-dependent'

    const mapped = await seen(target, primary, first, 'filtering 1')
    const known = await seen(target, sentinel, third, 'filtering 2')
    await otherAddress.send('from another address', mapped)
    await otherPort.send('from another port', mapped)
    await sentinel.send('sentinel', known)
    await target.receive('sentinel', signal)
    const filtering = target.has('from another address')
      ? 'endpoint-independent'
      : target.has('from another port')
        ? 'address-dependent'
        : 'address-and-port-dependent'
    return { mapping, filtering, preserved: a.port === prober.port }
  } finally {
    await Promise.all(
      [primary, otherPort, otherAddress, sentinel, prober, target].map((socket) => socket.close()),
    )
  }
}
