import { after, before } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Lab, labUnavailable, type Side, type SideOptions, type SideType, SocketAgent } from './index.js'

/** How long may pass until something that has to happen has happened, in milliseconds: far more than it takes. */
const PATIENCE = 20_000

/** A signal for one wait. */
export function patience(): AbortSignal {
  return AbortSignal.timeout(PATIENCE)
}

/** Looks again and again until `look` is true. @throws Error when patience ends */
export async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  const signal = patience()
  while (!(await look())) {
    signal.throwIfAborted()
    await setTimeout(20)
  }
}

/** Why the tests of a file cannot run here, for the `skip` of each. */
export const skip: string | false = labUnavailable() ?? false

/** A laboratory for the tests of one file, with an agent on its servers. */
export class Fixture {
  #lab: Lab | undefined
  #server: SocketAgent | undefined
  #sides = 0

  constructor() {
    before(async () => {
      if (skip) return
      this.#lab = await Lab.open()
      this.#server = new SocketAgent(this.#lab.servers)
    })
    after(async () => {
      await this.#server?.stop()
      await this.#lab?.close()
    })
  }

  get lab(): Lab {
    if (!this.#lab) throw new Error('there is no laboratory before the tests begin')
    return this.#lab
  }

  get server(): SocketAgent {
    if (!this.#server) throw new Error('there is no server before the tests begin')
    return this.#server
  }

  /** The nth address of the servers. */
  address(n: number): string {
    const address = this.lab.servers.addresses[n]
    if (address === undefined) throw new Error(`the servers have no address number ${n}`)
    return address
  }

  /** A new side and an agent in it. */
  async place(type: SideType, options: SideOptions = {}): Promise<{ side: Side; agent: SocketAgent }> {
    const side = await this.lab.side(`s${++this.#sides}`, type, options)
    return { side, agent: new SocketAgent(side) }
  }
}
