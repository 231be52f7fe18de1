import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type Behaviour,
  Lab,
  labUnavailable,
  measureBehaviour,
  type Side,
  type SideType,
  SocketAgent,
} from './index.js'

const skip = labUnavailable() ?? false

/** How long may pass until something that has to happen happened, in milliseconds. */
const PATIENCE = 10_000
const patience = () => AbortSignal.timeout(PATIENCE)

let lab: Lab
let server: SocketAgent

before(async () => {
  if (skip) return
  lab = await Lab.open()
  server = new SocketAgent(lab.servers)
})
after(async () => {
  if (skip) return
  await server.stop()
  await lab.close()
})

let sides = 0

/** A new side with an agent in it, for the time of a test. */
async function place(type: SideType, options: Parameters<Lab['side']>[2] = {}) {
  const side = await lab.side(`s${++sides}`, type, options)
  return { side, agent: new SocketAgent(side) }
}

const EIM = 'endpoint-independent'
const ADF = 'address-dependent'
const APDM = 'address-and-port-dependent'

const NAMED: Record<SideType, Behaviour> = {
  public: { mapping: EIM, filtering: EIM, preserved: true },
  'full-cone': { mapping: EIM, filtering: EIM, preserved: false },
  'address-restricted': { mapping: EIM, filtering: ADF, preserved: false },
  'port-restricted': { mapping: EIM, filtering: APDM, preserved: false },
  symmetric: { mapping: APDM, filtering: APDM, preserved: false },
  'symmetric-sequential': { mapping: APDM, filtering: APDM, preserved: false },
  'open-router': { mapping: EIM, filtering: APDM, preserved: true },
  blacklisting: { mapping: EIM, filtering: APDM, preserved: false },
  firewall: { mapping: EIM, filtering: APDM, preserved: true },
  double: { mapping: EIM, filtering: APDM, preserved: false },
}

for (const [type, expected] of Object.entries(NAMED) as [SideType, Behaviour][]) {
  test(`${type}: ${expected.mapping} mapping, ${expected.filtering} filtering`, { skip }, async () => {
    const { agent, side } = await place(type)
    const [first = '', second = '', third = ''] = lab.servers.addresses
    assert.deepEqual(await measureBehaviour(agent, server, [first, second, third]), expected)
    if (type === 'blacklisting') await lab.flush()
    const again = await measureBehaviour(agent, server, [first, second, third])
    assert.deepEqual(again, expected, 'what came unasked the first time changes nothing')
    const socket = await agent.open()
    const meeting = await server.open(third, 5100)
    await socket.send(`where ${type}`, { address: third, port: 5100 })
    const { from } = await meeting.receive(`where ${type}`, patience())
    assert.equal(from.address, side.publicAddress)
    await meeting.close()
    await agent.stop()
  })
}
