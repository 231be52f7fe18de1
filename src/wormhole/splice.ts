import type { Duplex } from 'node:stream'
import { asPlexusError, codeOf, PlexusError } from '../errors/index.js'
import type { Intake } from './intake.js'
import type { Near } from './near.js'
import { pump } from './pump.js'
import type { TunnelStream } from './tunnel/index.js'

/** How a connection came to its end: both sides had said all, or one of them cut it off. */
export type SpliceEnd =
  | { readonly kind: 'ended' }
  | { readonly kind: 'cut'; readonly by: 'near' | 'far'; readonly error: PlexusError }

/**
 * Joins a connection on this machine with its stream through the tunnel, until both have ended. Each direction ends by
 * itself; who reads slowly is waited for; one that is cut off cuts off the other. Never rejects.
 * @param intake what may be read of all connections of the tunnel at once
 */
export function splice(near: Near, far: TunnelStream, intake?: Intake): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    const { readable, writable } = near
    /** What has not come to its end yet, each of the two directions at both its sides. */
    const open = new Set<'heard' | 'passed' | 'answered' | 'delivered'>([
      'heard',
      'passed',
      'answered',
      'delivered',
    ])
    let over = false
    const finish = (end: SpliceEnd) => {
      if (over) return
      over = true
      if (end.kind === 'cut') {
        if (end.by === 'near') far.reset('STREAM_RESET', end.error.message)
        else near.abort()
      }
      resolve(end)
    }
    const reach = (what: 'heard' | 'passed' | 'answered' | 'delivered') => {
      open.delete(what)
      if (open.size === 0) finish({ kind: 'ended' })
    }
    const cutNear = (cause?: unknown) => {
      const code = codeOf(cause)
      const sentence = `The connection was cut off${typeof code === 'string' ? ` (${code})` : ''}.`
      finish({ kind: 'cut', by: 'near', error: new PlexusError('STREAM_RESET', sentence, { cause }) })
    }
    const cutFar = (cause: unknown) =>
      finish({ kind: 'cut', by: 'far', error: asPlexusError(cause, 'STREAM_RESET') })

    readable.once('end', () => reach('heard'))
    far.once('finish', () => reach('passed'))
    far.once('end', () => reach('answered'))
    writable.once('finish', () => reach('delivered'))
    readable.on('error', cutNear)
    if (writable !== (readable as unknown)) writable.on('error', cutNear)
    far.on('error', cutFar)
    readable.once('close', () => {
      if (open.has('heard')) cutNear()
    })
    writable.once('close', () => {
      if (open.has('delivered')) cutNear()
    })
    far.once('close', () => {
      if (open.has('answered') || open.has('passed')) {
        cutFar(new PlexusError('STREAM_RESET', 'The stream was cut off.'))
      }
    })
    if (isGone(far)) return cutFar(new PlexusError('STREAM_RESET', 'The stream was cut off.'))
    if (readable.destroyed || writable.destroyed) return cutNear()
    pump(readable, far, intake)
    pump(far, writable)
  })
}

function isGone(stream: Duplex): boolean {
  return stream.destroyed
}
