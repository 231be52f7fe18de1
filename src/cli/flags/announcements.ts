import type { PairingSettings } from '../../assembly/index.js'
import type { Logger } from '../../net/index.js'
import { DEFAULT_STUN_SERVERS } from '../../stun/index.js'
import { PUBLIC_BOOTSTRAP } from './defaults.js'
import { announceEmail } from './rendezvous-options.js'
import type { Values } from './values.js'

/** A password in the address of a rendezvous. */
const PASSWORD = /^[a-z][a-z0-9+.-]*:(?:\/\/)?[^/@]*:[^/@]+@/i

/** Says what a person may not expect of the flags: public servers that nobody named, flags without effect, secrets. */
export function announce(values: Values, { meeting, network }: PairingSettings, log: Logger): void {
  const { urls, options } = meeting
  if (network.stunServers === DEFAULT_STUN_SERVERS) {
    log.info({}, `using public STUN servers ${DEFAULT_STUN_SERVERS.join(', ')}; --stun-server names others`)
  }
  if (urls.includes('dht:') && options['dht-bootstrap'] === undefined) {
    log.info(
      {},
      `using the public HyperDHT network at ${PUBLIC_BOOTSTRAP.join(', ')}; --dht-bootstrap names another`,
    )
  }
  const ignored = ['dht-port', 'dht-network'].flatMap((name) => values.label(name) ?? [])
  if (ignored.length > 0) {
    log.warn(
      {},
      `ignoring ${ignored.join(' and ')}: plexus 3 used OpenDHT, this version uses HyperDHT, which needs neither`,
    )
  }
  if (values.label('rendezvous') === '--rendezvous' && urls.some((url) => PASSWORD.test(url))) {
    log.warn(
      {},
      'every user of this machine can see the password in --rendezvous: give it in PLEXUS_OPT_RENDEZVOUS or the file of --config',
    )
  }
  announceEmail(values, urls, log)
}
