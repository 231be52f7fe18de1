import { type Channel, channel } from 'node:diagnostics_channel'
import type { Logger } from '../net/index.js'
import type { ConnectionEvent, PairingEvent, PathEvent, TunnelEvent } from './events.js'

/**
 * The one seam for everything that is watched: what happens is published once, on one of these channels of
 * `node:diagnostics_channel`, and log, status, metrics and `--result` read it there. A program that embeds this one can too.
 */
export interface Channels {
  'plexus:pairing': PairingEvent
  'plexus:path': PathEvent
  'plexus:tunnel': TunnelEvent
  'plexus:connection': ConnectionEvent
}

/** Whose event it is. */
export interface Source {
  /** The log of who it happened to: of the session, where there is one. */
  readonly log: Logger
  /** What several programs in one process tell their own by. */
  readonly scope?: object
}

/** What a channel carries: what happened, and to whom. */
export interface Told<N extends keyof Channels> extends Source {
  readonly event: Channels[N]
  /** Which copy of this package publishes: a process may have several, each with a log of its own. */
  readonly by: object
}

/** This copy. */
export const OURS = {}

const CHANNELS: Readonly<Record<keyof Channels, Channel>> = {
  'plexus:pairing': channel('plexus:pairing'),
  'plexus:path': channel('plexus:path'),
  'plexus:tunnel': channel('plexus:tunnel'),
  'plexus:connection': channel('plexus:connection'),
}

/**
 * Publishes what happened. Costs a look at the channel when nobody listens.
 * @param event made only if somebody does
 */
export function publish<N extends keyof Channels>(
  name: N,
  { log, scope }: Source,
  event: () => Channels[N],
): void {
  const { hasSubscribers } = CHANNELS[name]
  if (!hasSubscribers) return
  const told: Told<N> = { event: event(), by: OURS, log, ...(scope === undefined ? {} : { scope }) }
  CHANNELS[name].publish(told)
}

/**
 * Listens to a channel until the returned function is called. The listener runs while it happens, and must not throw.
 * @param scope hears of that one alone; without it of all in this process
 */
export function watch<N extends keyof Channels>(
  name: N,
  listener: (told: Told<N>) => void,
  scope?: object,
): () => void {
  const onmessage = (message: unknown) => {
    const told = message as Told<N>
    if (scope === undefined || told.scope === scope) listener(told)
  }
  CHANNELS[name].subscribe(onmessage)
  return () => void CHANNELS[name].unsubscribe(onmessage)
}
