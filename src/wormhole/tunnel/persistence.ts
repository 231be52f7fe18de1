/** More than this share lost is no weather that a path has by itself; less than the second is. */
const HEAVY = 0.4
const LIGHT = 0.1
/** The share is that of so many packets of late: of fewer once they go one by one, so that a path that is mended is soon used. */
const PACKETS = 32
const FEW_PACKETS = 8

/** So many lost packets are remembered while much is lost: they may only have been overtaken, on a path that reorders. */
const REMEMBERED = 64

/** It persists after this many time-outs' lengths (RFC 9002 section 7.6.1), and this many ms. */
const TIMEOUTS = 3
const LEAST = 500

/** How long nothing, or hardly anything, may get through before the congestion is persistent, in ms. */
export function persistenceAfter(timeout: number): number {
  return Math.max(TIMEOUTS * timeout, LEAST)
}

type Loss = { readonly name: 'light' | 'persistent' } | { readonly name: 'heavy'; readonly since: number }

/**
 * Tells heavy loss that persists from a burst of it. Every packet counts, whether there was more to send or not: a flow
 * that never fills the path may not go on for ever where little arrives (RFC 8085 section 3.1). Times in ms.
 */
export class Persistence {
  #share = 0
  #loss: Loss = { name: 'light' }
  /** Numbers of packets that were taken for lost, in ascending order more or less. */
  #missing: number[] = []

  /** Much has been lost for so long that packets may only go one by one. */
  get persistent(): boolean {
    return this.#loss.name === 'persistent'
  }

  acknowledged(): void {
    this.#lighten(this.#share / this.#packets)
  }

  /** Takes an acknowledgement, in ranges with both ends included: what was taken for lost may be in it. */
  found(ranges: readonly (readonly [number, number])[]): void {
    if (this.#missing.length === 0) return
    const missing = this.#missing.filter(
      (packet) => !ranges.some(([high, low]) => low <= packet && packet <= high),
    )
    const found = this.#missing.length - missing.length
    this.#missing = missing
    if (found > 0) this.#lighten(found / this.#packets)
  }

  /**
   * @param timeout after so long without an acknowledgement something is wrong
   * @returns true if by this the loss becomes persistent
   */
  lost(now: number, packet: number, timeout: number): boolean {
    this.#share += (1 - this.#share) / this.#packets
    if (this.#loss.name === 'light' && this.#share > HEAVY) this.#loss = { name: 'heavy', since: now }
    if (this.#loss.name !== 'light' && this.#missing.push(packet) > REMEMBERED) this.#missing.shift()
    if (this.#loss.name !== 'heavy' || now - this.#loss.since < persistenceAfter(timeout)) return false
    this.#loss = { name: 'persistent' }
    return true
  }

  /** The path is another one. */
  reset(): void {
    this.#lighten(1)
  }

  #lighten(by: number): void {
    this.#share = Math.max(0, this.#share - by)
    if (this.#share >= LIGHT || this.#loss.name === 'light') return
    this.#loss = { name: 'light' }
    this.#missing = []
  }

  get #packets(): number {
    return this.persistent ? FEW_PACKETS : PACKETS
  }
}
