import type { Tunnel } from './tunnel/index.js'

/** Sums over all that was forwarded, for one line at the end. */
export class Ledger {
  /** Connections and flows that are open, and that were opened. */
  open = 0
  opened = 0
  /** Those that came to nothing: the service was not there, or no tunnel was. */
  failed = 0
  #tunnels = 0
  #bytesIn = 0
  #bytesOut = 0

  /** Counts one connection or flow until the returned function is called. */
  begin(): () => void {
    this.open++
    this.opened++
    let ended = false
    return () => {
      if (!ended) this.open--
      ended = true
    }
  }

  /** Takes over what a tunnel that is over has carried. */
  settle(tunnel: Tunnel): void {
    const { bytesIn, bytesOut } = tunnel.stats()
    this.#tunnels++
    this.#bytesIn += bytesIn
    this.#bytesOut += bytesOut
  }

  /** One line, without a full stop. */
  summary(): string {
    const failed = this.failed > 0 ? `, ${this.failed} failed` : ''
    return `forwarded ${count(this.opened, 'connection')}${failed}, ${bytes(this.#bytesIn)} in and ${bytes(this.#bytesOut)} out, through ${count(this.#tunnels, 'tunnel')}`
  }
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** In the largest unit of SI that leaves a number of at least 1. */
export function bytes(number: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3))
  return `${(number / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}
