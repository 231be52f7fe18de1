import { systemClock } from '../../src/cli/clock.js'
import { sleep } from '../../src/net/index.js'
import { type Lab, plug, renumberHost, renumberNat, type Side, unplug } from './index.js'
import type { PairingRig, Process } from './pairing-rig.js'

/** What an upheaval can be done to. */
export interface Scene {
  readonly lab: Lab
  readonly rig: PairingRig
  readonly accepting: Side
  readonly accepter: Process
}

/** Something that cuts an idle accepter off, and ends when it can be reached again. */
export interface Upheaval {
  readonly name: string
  happen(scene: Scene): Promise<void>
}

/** How long an outage lasts, in ms: longer than every request under way, so that each is given up. */
const OUTAGE = 20_000
/** A longer one: the whole network of nodes is forgotten, and pauses between attempts have grown to their longest. */
const LONG_OUTAGE = 60_000

async function wait(ms: number): Promise<void> {
  await sleep(systemClock, ms)
}

async function killNodes({ rig }: Scene, indices: readonly number[]): Promise<void> {
  await Promise.all(indices.map((index) => rig.nodes[index]?.stop('SIGKILL')))
}

async function startNodes({ rig }: Scene, indices: readonly number[]): Promise<void> {
  for (const index of indices) await rig.startNode(index)
}

const ALL = [0, 1, 2]

export const UPHEAVALS: readonly Upheaval[] = [
  { name: 'nothing', happen: async () => {} },
  { name: "the NAT's table emptied", happen: ({ lab }) => lab.flush() },
  {
    name: "the NAT's public address changed",
    happen: async ({ accepting }) => void (await renumberNat(accepting, 1)),
  },
  {
    name: "the NAT's public address changed back",
    happen: async ({ accepting }) => void (await renumberNat(accepting, 0)),
  },
  {
    name: "the host's own address changed",
    happen: async ({ accepting }) => void (await renumberHost(accepting, 1)),
  },
  {
    name: "the host's own and the public address changed, as in another network",
    async happen({ accepting }) {
      await renumberHost(accepting, 2)
      await renumberNat(accepting, 2)
    },
  },
  {
    name: 'the interface down for 20 s and up again',
    async happen({ accepting }) {
      await unplug(accepting)
      await wait(OUTAGE)
      await plug(accepting)
    },
  },
  {
    name: 'the interface down for 60 s and up again',
    async happen({ accepting }) {
      await unplug(accepting)
      await wait(LONG_OUTAGE)
      await plug(accepting)
    },
  },
  {
    name: 'the process stopped for 20 s, the table of the NAT emptied, and continued',
    async happen({ lab, accepter }) {
      accepter.child.kill('SIGSTOP')
      await wait(OUTAGE)
      await lab.flush()
      accepter.child.kill('SIGCONT')
    },
  },
  {
    name: 'the STUN server dead for 20 s and restarted',
    async happen({ rig }) {
      await rig.stun?.stop('SIGKILL')
      await wait(OUTAGE)
      await rig.startStun()
    },
  },
  {
    name: 'the DHT bootstrap node restarted at once',
    async happen(scene) {
      await killNodes(scene, [0])
      await startNodes(scene, [0])
    },
  },
  {
    name: 'the DHT bootstrap node dead for 20 s and restarted',
    async happen(scene) {
      await killNodes(scene, [0])
      await wait(OUTAGE)
      await startNodes(scene, [0])
    },
  },
  {
    name: 'all nodes of the DHT restarted at once',
    async happen(scene) {
      await killNodes(scene, ALL)
      await startNodes(scene, ALL)
    },
  },
  {
    name: 'all nodes of the DHT dead for 60 s and restarted',
    async happen(scene) {
      await killNodes(scene, ALL)
      await wait(LONG_OUTAGE)
      await startNodes(scene, ALL)
    },
  },
]
