import { openDhtNode } from '../../../rendezvous/dht/index.js'
import { formatEndpoint, parseHostPort } from '../../net/index.js'
import { StunServer } from '../../stun/index.js'
import { logOf } from '../flags/log.js'
import type { Values } from '../flags/values.js'
import { present } from '../flags/values.js'
import { untilSignalled } from '../process/signals.js'

/** `plexus stun-server`: answers binding requests until it is told to stop. */
export async function stunServer(values: Values): Promise<number> {
  const listen = present('listen', values.endpoint('listen', 3478))
  const second = values.endpoint('alternate', 3479)
  const log = logOf(values)
  const alternate = second === undefined ? {} : { alternate: second }
  const server = await StunServer.open({ listen, ...alternate, log })
  log.info({}, `STUN server on ${server.endpoints.map(formatEndpoint).join(', ')}`)
  await untilSignalled()
  await server.close()
  return 0
}

/** `plexus dht-node`: a node that stays, until it is told to stop. */
export async function dhtNode(values: Values): Promise<number> {
  const listen = present('listen', values.endpoint('listen'))
  const bootstrap = values.hosts('dht-bootstrap')
  const log = logOf(values)
  const node = await openDhtNode({ listen, bootstrap: bootstrap.map((text) => parseHostPort(text)), log })
  log.info(
    {},
    `DHT node on ${formatEndpoint(listen)}${bootstrap.length > 0 ? ` of ${bootstrap.join(', ')}` : ', first of its network'}`,
  )
  await untilSignalled()
  await node.close()
  return 0
}
