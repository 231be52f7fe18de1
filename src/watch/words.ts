import { formatEndpoint, type Logger, sameEndpoint } from '../net/index.js'
import { bytes, duration } from './amounts.js'
import type { Channels } from './channels.js'
import type { PairingEvent, PathEvent, TunnelEvent } from './events.js'

/** A line of the log: its level, its fields, its sentence. */
export type Line = readonly [level: Exclude<keyof Logger, 'child'>, fields: object, sentence: string]

/** The channels that the log reads; single connections are too many for it. */
export type Logged = Exclude<keyof Channels, 'plexus:connection'>

/** What the log says of each event; nothing of those that somebody else tells of. */
export const WORDS: { readonly [N in Logged]: (event: Channels[N]) => Line | undefined } = {
  'plexus:pairing': pairing,
  'plexus:path': path,
  'plexus:tunnel': tunnel,
}

function pairing(event: PairingEvent): Line | undefined {
  switch (event.name) {
    case 'inviting':
      return ['info', {}, `inviting ${event.peer} to '${event.app}' over ${event.over}`]
    case 'posted':
      return ['info', {}, `invite posted in ${Math.round(event.took)} ms`]
    case 'invited': {
      const session = short(event.session)
      return ['info', { session }, `${event.purpose === 'ping' ? 'pinged' : 'invited'} by ${event.peer}`]
    }
    case 'refused': {
      const { code, session, peer, sentence, loudness } = event
      if (loudness === 'none') return undefined
      return [loudness, { code, session: short(session) }, `refused ${peer}: ${sentence}`]
    }
    case 'answered':
      return ['info', {}, `${event.peer} answered`]
    case 'failed':
      if (event.loudness === 'none') return undefined
      return [event.loudness, { code: event.error.code }, `the pairing failed: ${event.error.message}`]
    case 'waiting':
      return ['info', {}, `connecting again in ${(event.wait / 1000).toFixed(1)} s`]
    case 'gathered':
    case 'punched':
    case 'outcome':
      return undefined
  }
}

function path(event: PathEvent): Line {
  switch (event.name) {
    case 'open': {
      const [inner, faraway] = [formatEndpoint(event.inner), formatEndpoint(event.faraway)]
      const way = event.dialect ?? event.kind
      const how = event.bySilence ? ', without a final confirmation from the peer' : ''
      return ['info', {}, `punched in ${Math.round(event.took)} ms: ${inner} to ${faraway} (${way})${how}`]
    }
    case 'moved': {
      const fields = { from: formatEndpoint(event.from), to: formatEndpoint(event.to) }
      const same = sameEndpoint(event.from, event.to)
      return ['info', fields, same ? 'the path is unchanged' : 'the address of the peer changed']
    }
  }
}

function tunnel(event: TunnelEvent): Line {
  const withPeer = event.peer === '' ? '' : ` with ${event.peer}`
  switch (event.name) {
    case 'up': {
      const { path, rtt } = event.read()
      const trip = rtt === undefined ? '' : `, round trip ${rtt.toFixed(1)} ms`
      return ['info', {}, `tunnel up${withPeer} over ${formatEndpoint(path)}${trip}`]
    }
    case 'silent': {
      // one that was ended by this side failed at nothing
      const { code, message } = event.error
      return [event.closed ? 'debug' : 'warn', { code }, `no tunnel${withPeer}: ${message}`]
    }
    case 'over': {
      const { bytesIn, bytesOut } = event.reading
      const carried = `after ${duration(event.lasted)}, ${bytes(bytesIn)} in and ${bytes(bytesOut)} out`
      if (event.end === 'dead' || event.end === 'failed') {
        const why = event.error ? `: ${event.error.message}` : ''
        return ['warn', {}, `tunnel${withPeer} lost ${carried}${why}`]
      }
      return [
        'info',
        {},
        `tunnel${withPeer} closed${event.end === 'closed' ? '' : ' by the peer'} ${carried}`,
      ]
    }
  }
}

/** The first digits of a session id: the same in both logs. */
function short(session: string): string {
  return session.slice(0, 8)
}
