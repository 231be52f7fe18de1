/**
 * For a person: opens a laboratory, measures the sides that are named and keeps them until Enter is pressed.
 *
 *     node dist/test/natlab/inspect.js port-restricted symmetric
 *
 * It prints how to get a shell in each namespace. Needs root.
 */
import { once } from 'node:events'
import { Lab, labUnavailable, measureBehaviour, type SideType, SocketAgent } from './index.js'
import { namespaceFile } from './namespace.js'

const reason = labUnavailable()
if (reason !== undefined) {
  console.error(reason)
  process.exit(2)
}
const lab = await Lab.open()
const server = new SocketAgent(lab.servers)
const shell = (namespace: string) => `nsenter --net=${namespaceFile(namespace)}`
console.log(`servers: ${lab.servers.addresses.join(' ')}\n  ${shell(lab.servers.namespace)}`)
for (const [index, type] of process.argv.slice(2).entries()) {
  const side = await lab.side(`s${index}`, type as SideType, { ipv6: true })
  const agent = new SocketAgent(side)
  const [first = '', second = '', third = ''] = lab.servers.addresses
  const { mapping, filtering } = await measureBehaviour(agent, server, [first, second, third])
  await agent.stop()
  console.log(`${type}: ${mapping} mapping, ${filtering} filtering`)
  console.log(`  ${side.address} seen as ${side.publicAddress}, ${side.address6}`)
  for (const machine of [side, ...side.nats]) console.log(`  ${machine.name}: ${shell(machine.namespace)}`)
}
await lab.flush()
console.log('Enter ends it.')
await once(process.stdin, 'data')
process.stdin.pause()
await server.stop()
await lab.close()
