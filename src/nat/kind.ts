import type { FamilyReport, NatReport } from './report.js'

/** What stands between this machine and the internet, in the words that people use. */
export type NatKind =
  /** A public address, and nothing that filters. */
  | 'open'
  /** A public address behind a stateful firewall. */
  | 'firewall'
  | 'full-cone'
  | 'address-restricted'
  | 'port-restricted'
  /** A cone whose filtering could not be measured. */
  | 'cone'
  | 'address-dependent'
  | 'symmetric-sequential'
  | 'symmetric-random'
  /** Symmetric, and it could not be measured how it gives out ports. */
  | 'symmetric'
  /** It translates, and no more is known. */
  | 'unknown'
  | 'udp-blocked'
  /** No STUN server answered, and that is no sign that UDP is blocked. */
  | 'no-server'
  /** Nothing came back from anywhere. */
  | 'offline'

/** The name of each kind, with the words of RFC 4787 behind it. */
export const KINDS: Readonly<Record<NatKind, string>> = {
  open: 'none: a public address that everybody can reach',
  firewall: 'none, but a stateful firewall that lets answers in',
  'full-cone': 'full cone NAT (endpoint-independent mapping and filtering)',
  'address-restricted':
    'address-restricted cone NAT (endpoint-independent mapping, address-dependent filtering)',
  'port-restricted':
    'port-restricted cone NAT (endpoint-independent mapping, address-and-port-dependent filtering)',
  cone: 'cone NAT (endpoint-independent mapping, filtering unknown)',
  'address-dependent': 'symmetric NAT by address (address-dependent mapping)',
  'symmetric-sequential': 'symmetric NAT with ports in sequence (address-and-port-dependent mapping)',
  'symmetric-random': 'symmetric NAT with random ports (address-and-port-dependent mapping)',
  symmetric: 'symmetric NAT (mapping that depends on the destination)',
  unknown: 'a NAT of unknown kind',
  'udp-blocked': 'unknown: UDP is most likely blocked',
  'no-server': 'unknown: no STUN server answered',
  offline: 'nothing comes back',
}

/** What was found of the way over IPv4, or over IPv6 where there is no IPv4. */
export function kindOf({ udp, ipv4, ipv6 }: Pick<NatReport, 'udp' | 'ipv4' | 'ipv6'>): NatKind {
  if (udp === 'blocked') return 'udp-blocked'
  if (udp === 'refused' || udp === 'unanswered') return 'no-server'
  if (udp === 'silent') return 'offline'
  const family = ipv4 ?? ipv6
  return family ? kindOfFamily(family) : 'offline'
}

/** What was found of one family. */
export function kindOfFamily({ translated, mapping, filtering, allocation }: FamilyReport): NatKind {
  if (!translated)
    return filtering === 'endpoint-independent' || filtering === 'unknown' ? 'open' : 'firewall'
  switch (mapping) {
    case 'endpoint-independent':
      switch (filtering) {
        case 'endpoint-independent':
          return 'full-cone'
        case 'address-dependent':
          return 'address-restricted'
        case 'address-and-port-dependent':
          return 'port-restricted'
        case 'unknown':
          return 'cone'
      }
      break
    case 'address-dependent':
      return 'address-dependent'
    case 'address-and-port-dependent':
      if (allocation.kind === 'sequential') return 'symmetric-sequential'
      return allocation.kind === 'random' ? 'symmetric-random' : 'symmetric'
    case 'unknown':
      return 'unknown'
  }
}
