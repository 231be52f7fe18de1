import { addresses, type Cable } from './addresses.js'
import type { Machine } from './machine.js'
import type { Network } from './network.js'

/** Routers between a side and the core: with four, a TTL of 7 dies in the other side's provider whatever the NATs. */
export const PROVIDER_ROUTERS = 4

/** The routers between the core and a side. */
export class Provider {
  readonly last: { namespace: string; interface: string; bridge: boolean }
  readonly #network: Network
  /** Each router that has to know a prefix of the side, and the next one on the way to it. */
  readonly #hops: { namespace: string; next: string; next6: string }[] = []
  readonly #ipv6: boolean

  constructor(
    network: Network,
    core: Machine,
    namespace: string,
    index: number,
    access: Cable,
    ipv6: boolean,
  ) {
    this.#network = network
    this.#ipv6 = ipv6
    let upper = { namespace: core.namespace, interface: `side${index}` }
    for (let step = 0; step < PROVIDER_ROUTERS; step++) {
      const name = `${namespace}-r${step + 1}`
      const cable = addresses.core(index, step)
      const cable6 = addresses.core6(index, step)
      network.namespace(name)
      network.router(name)
      network.link(name, 'uplink', upper.namespace, upper.interface)
      network.address(upper.namespace, upper.interface, `${cable.upper}/${cable.length}`)
      network.address(name, 'uplink', `${cable.lower}/${cable.length}`)
      network.route(name, 'default', cable.upper)
      if (ipv6) {
        network.address(upper.namespace, upper.interface, `${cable6.upper}/${cable6.length}`)
        network.address(name, 'uplink', `${cable6.lower}/${cable6.length}`)
        network.route(name, 'default', cable6.upper)
      }
      this.#hops.push({ namespace: upper.namespace, next: cable.lower, next6: cable6.lower })
      upper = { namespace: name, interface: 'downlink' }
    }
    const access6 = addresses.access6(index)
    // what a NAT turns back comes in and leaves by one interface, which is no mistake
    network.sysctl(upper.namespace, 'ipv4/conf/all/send_redirects', 0)
    network.sysctl(upper.namespace, `ipv4/conf/${upper.interface}/send_redirects`, 0)
    network.address(upper.namespace, upper.interface, `${access.upper}/${access.length}`)
    if (ipv6) network.address(upper.namespace, upper.interface, `${access6.upper}/${access6.length}`)
    this.routeDown(access.prefix)
    if (ipv6) this.routeDown(access6.prefix)
    this.last = { ...upper, bridge: false }
    this.#hops.push({ namespace: upper.namespace, next: access.lower, next6: access6.lower })
  }

  /** Lets all of them know the way to a prefix of the side. */
  routeDown(prefix: string): void {
    for (const { namespace, next, next6 } of this.#hops) {
      const v6 = prefix.includes(':')
      if (!v6 || this.#ipv6) this.#network.route(namespace, prefix, v6 ? next6 : next)
    }
  }
}
