import { PlexusError } from '../errors/index.js'
import { formatIdentity, type IdentityName } from '../identity/index.js'
import { type Endpoint, familyOf, formatEndpoint, scopeOf } from '../net/index.js'
import {
  type Gathering,
  gather,
  type Hole,
  innerEndpoint,
  type PairingContext,
  type Role,
} from '../pairing/index.js'
import { handshake, type PeerMessage } from '../plexus3/index.js'
import { isSymmetric } from '../punch/index.js'
import { publish } from '../watch/index.js'

/** A hole to a plexus 3.x peer, of which both sides know no more than 64 bits: there is no key. */
export interface Plexus3Passage extends Hole {
  readonly dialect: 'plexus-3'
  /** 64 bits. */
  readonly secret: bigint
}

export interface DiggingOptions {
  readonly role: Role
  readonly session: string
  readonly peer: IdentityName
  /** Of the certificate that signed the peer's words, if any did. */
  readonly fingerprint: Buffer | undefined
  readonly secret: bigint
  readonly gathering: Gathering
  /** What the peer was told of this side. */
  readonly own: Endpoint
  readonly message: PeerMessage
  /** How long the handshake may take, in ms. */
  readonly timeout: number
  /** Is called when the first datagram has come that can be one of the peer's. */
  readonly onHeard?: () => void
  readonly signal: AbortSignal
}

/** A port of its own. A 3.x peer hears of the one endpoint that STUN tells, so no router is asked for a mapping. */
export function openGround(
  { portMapper: _, ...context }: PairingContext,
  signal: AbortSignal,
): Promise<Gathering> {
  return gather(context, signal)
}

/**
 * The endpoint that a peer is told: a 3.x peer hears one alone.
 * @param like the peer's, of whose family it has to be; without it IPv4 comes first
 * @throws PlexusError STUN_UNREACHABLE, NO_PATH
 */
export function publicEndpoint({ reflexive, failure }: Gathering, like?: Endpoint): Endpoint {
  const endpoints = reflexive.map(({ endpoint }) => endpoint)
  const found = like
    ? endpoints.find((each) => familyOf(each) === familyOf(like))
    : (endpoints.find((each) => familyOf(each) === 4) ?? endpoints[0])
  if (found) return found
  if (failure) throw failure
  const family = like && familyOf(like) === 6 ? 'IPv6' : 'IPv4'
  throw new PlexusError('NO_PATH', `This side has no public ${family} address, and the peer no other.`, {
    advice: 'Give one side an address of the other kind, or a STUN server for it in --stun-server.',
  })
}

/**
 * Where a peer says it is may be anywhere. What leads to this machine or its own link counts only where this side was told
 * by STUN that it is there itself, as in a laboratory.
 * @throws PlexusError NO_PATH
 */
export function checkEndpoint(endpoint: Endpoint, own: Endpoint): void {
  const scope = scopeOf(endpoint.address)
  const near = scope === 'loopback' || scope === 'link-local' || scope === 'unusable'
  if (!near || scopeOf(own.address) === scope) return
  throw new PlexusError('NO_PATH', `The peer says it is at ${formatEndpoint(endpoint)}, which is ${scope}.`, {
    advice: 'Have the peer name a STUN server outside of its own machine in --stun-server.',
  })
}

/**
 * Does the handshake, and makes a passage of it.
 * @throws PlexusError NO_PATH, PUNCH_TIMEOUT, or the signal's reason
 */
export async function dig(context: PairingContext, options: DiggingOptions): Promise<Plexus3Passage> {
  const { clock, log, random, hops, app, host } = context
  const { role, session, peer, fingerprint, secret, gathering, own, message, timeout, onHeard, signal } =
    options
  const { port } = gathering
  const { endpoint } = message
  checkEndpoint(endpoint, own)
  const scope = scopeOf(endpoint.address)
  const within = scope === 'global' ? '' : `, an address that is ${scope}`
  log.info({}, `punching towards ${formatEndpoint(endpoint)} in the plexus-3 dialect${within}`)
  const started = clock.now()
  const shaken = await handshake(port, {
    role,
    secret,
    peer: endpoint,
    hops,
    timeout,
    random,
    clock,
    log,
    ...(context.governor ? { allowance: context.governor.allowance(formatIdentity(peer)) } : {}),
    signal,
    ...(onHeard ? { onHeard } : {}),
  })
    .catch((thrown: unknown) => {
      throw explained(thrown, options)
    })
    .finally(() => gathering.settle())
  const inner = await innerEndpoint(port, endpoint)
  publish('plexus:path', context, () => ({
    name: 'open',
    session,
    peer: formatIdentity(peer),
    inner,
    outer: own,
    faraway: endpoint,
    kind: 'reflexive',
    rtt: undefined,
    dialect: 'plexus-3',
    bySilence: !shaken.acknowledged,
    took: clock.now() - started,
  }))
  return {
    dialect: 'plexus-3',
    role,
    app,
    session,
    host: host.name,
    peer,
    fingerprint,
    inner,
    outer: own,
    faraway: endpoint,
    kind: 'reflexive',
    rtt: undefined,
    secret,
    port,
  }
}

/** What is known of why nothing came of it. */
function explained(thrown: unknown, { gathering, message, peer }: DiggingOptions): unknown {
  if (!(thrown instanceof PlexusError) || thrown.code !== 'PUNCH_TIMEOUT') return thrown
  if (isSymmetric(gathering.nat)) {
    return new PlexusError(
      'NO_PATH',
      `${thrown.message} This side has a symmetric NAT, and a plexus 3.x peer hears the one port that it was told.`,
      {
        cause: thrown,
        advice: 'Use a port mapping on this side, or replace plexus 3.x on the other.',
      },
    )
  }
  if (message.version === '3.0') return thrown
  return new PlexusError('PUNCH_TIMEOUT', thrown.message, {
    cause: thrown,
    advice: `${formatIdentity(peer)} speaks the form of ${message.version} with qos '${message.qos}': restrict it to UDP in any role by the direct route (udp:either), and try again.`,
  })
}
