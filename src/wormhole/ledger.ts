import { bytes, type Told, type TunnelReading, watch } from '../watch/index.js'

/** A tunnel that is up. */
export interface Standing {
  readonly peer: string
  readonly read: () => TunnelReading
}

/** What was forwarded and what is up, by what the channels tell: for a status, and for one line at the end. */
export class Ledger {
  /** Those that are up. */
  readonly tunnels = new Map<object, Standing>()
  /** Connections and flows that are open, and that were opened. */
  open = 0
  opened = 0
  /** Those that came to nothing: the service was not there, or no tunnel was. */
  failed = 0
  #over = 0
  #bytesIn = 0
  #bytesOut = 0
  readonly #stops: readonly (() => void)[]

  /** @param scope whose tunnels and connections are counted, until `close` */
  constructor(scope: object) {
    this.#stops = [
      watch('plexus:connection', (told) => this.#connection(told), scope),
      watch('plexus:tunnel', (told) => this.#tunnel(told), scope),
    ]
  }

  #connection({ event }: Told<'plexus:connection'>): void {
    if (event.name === 'failed') this.failed++
    if (event.name === 'closed') this.open--
    if (event.name !== 'opened') return
    this.open++
    this.opened++
  }

  #tunnel({ event }: Told<'plexus:tunnel'>): void {
    if (event.name === 'up') this.tunnels.set(event.tunnel, event)
    if (event.name !== 'over') return
    this.tunnels.delete(event.tunnel)
    this.#over++
    this.#bytesIn += event.reading.bytesIn
    this.#bytesOut += event.reading.bytesOut
  }

  /** Counts no more. */
  close(): void {
    for (const stop of this.#stops) stop()
  }

  /** One line, without a full stop. */
  summary(): string {
    const failed = this.failed > 0 ? `, ${this.failed} failed` : ''
    return `forwarded ${count(this.opened, 'connection')}${failed}, ${bytes(this.#bytesIn)} in and ${bytes(this.#bytesOut)} out, through ${count(this.#over, 'tunnel')}`
  }
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
