import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type DhtNode, openDhtNode } from '../../rendezvous/dht/index.js'
import type { RendezvousContext } from '../../rendezvous/index.js'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import { type Logger, silent } from '../../src/net/index.js'

/** A directory that is gone when the test is over. */
export function temporaryDirectory(t: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'plexus-rendezvous-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** What a rendezvous is opened with, on a state directory of its own. */
export function contextFor(
  t: Pick<TestContext, 'after'>,
  options: RendezvousContext['options'] = {},
  log: Logger = silent,
): RendezvousContext {
  return { clock: systemClock, random: systemRandom, log, stateDirectory: temporaryDirectory(t), options }
}

/** A HyperDHT network of its own on loopback, with as many nodes; `bootstrap` is the first of them. */
export async function openNetwork(
  t: Pick<TestContext, 'after'>,
  size: number,
): Promise<{ nodes: DhtNode[]; bootstrap: string }> {
  const nodes: DhtNode[] = []
  t.after(async () => {
    for (const node of nodes) await node.close()
  })
  while (nodes.length < size) {
    const port = 20_000 + (systemRandom(2).readUInt16BE() % 12_000) // below the range that the system gives away
    const bootstrap = nodes
      .slice(0, 1)
      .map(({ endpoint }) => ({ host: endpoint.address, port: endpoint.port }))
    const node = await openDhtNode({ listen: { address: '127.0.0.1', port }, bootstrap, log: silent }).catch(
      (cause) => {
        if (cause.code !== 'ADDRESS_IN_USE') throw cause
        return undefined
      },
    )
    if (node) nodes.push(node)
  }
  const [first] = nodes
  return { nodes, bootstrap: `127.0.0.1:${first?.endpoint.port}` }
}

/** A logger that keeps its lines. */
export function recorder(): { log: Logger; lines: { level: string; message: string }[] } {
  const lines: { level: string; message: string }[] = []
  const at = (level: string) => (_fields: object, message: string) => void lines.push({ level, message })
  const log: Logger = {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => log,
  }
  return { log, lines }
}
