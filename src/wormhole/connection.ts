import { publish } from '../watch/index.js'
import type { Surroundings } from './surroundings.js'

/** A connection or a flow, as those who watch know it. */
export interface Forwarded {
  /** `in` for a service of this side, `out` for one of the peer. */
  readonly direction: 'in' | 'out'
  /** By the name that both sides know it by. */
  readonly service: string
  readonly carries: 'stream' | 'datagrams'
}

/** Tells that one has been opened, and that it is closed once the returned function is called. */
export function tellOpened(around: Surroundings, { direction, service, carries }: Forwarded): () => void {
  publish('plexus:connection', around, () => ({ name: 'opened', direction, service, carries }))
  let open = true
  return () => {
    if (open) publish('plexus:connection', around, () => ({ name: 'closed', direction, service }))
    open = false
  }
}

/** Tells that one came to nothing: the service was not there, or no tunnel was. */
export function tellFailed(
  around: Surroundings,
  { direction, service }: Pick<Forwarded, 'direction' | 'service'>,
): void {
  publish('plexus:connection', around, () => ({ name: 'failed', direction, service }))
}
