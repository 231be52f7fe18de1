/** Bytes taken from the system at once: some fifty datagrams. */
const SLAB = 64 * 1024

/**
 * Where datagrams are made. Each lies in bytes of its own, as the socket may still hold it when the next one is made; a
 * slab is given back by the garbage collector when all of its datagrams were sent.
 */
export class Slab {
  #bytes = Buffer.allocUnsafeSlow(SLAB)
  #at = 0

  /** Room for a datagram of up to `most` bytes, which `take` then cuts off. */
  room(most: number): Buffer {
    if (this.#at + most > SLAB) {
      this.#bytes = Buffer.allocUnsafeSlow(SLAB)
      this.#at = 0
    }
    return this.#bytes.subarray(this.#at, this.#at + most)
  }

  /** The first `size` bytes of the room, for good. */
  take(size: number): Buffer {
    const taken = this.#bytes.subarray(this.#at, this.#at + size)
    this.#at += size
    return taken
  }
}
