/**
 * Integers of one, two, four or eight bytes (RFC 9000 section 16): the first two bits say which. Values stay below
 * 2^53, which no count of a tunnel reaches.
 */
export const MAX_VARINT = Number.MAX_SAFE_INTEGER

/** How many bytes a value takes. */
export function varintLength(value: number): 1 | 2 | 4 | 8 {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x40000000 ? 4 : 8
}

/** Writes a value at `at` and returns the place behind it. */
export function writeVarint(target: Buffer, at: number, value: number): number {
  if (value < 0x40) {
    target[at] = value
    return at + 1
  }
  if (value < 0x4000) {
    target[at] = 0x40 | (value >>> 8)
    target[at + 1] = value
    return at + 2
  }
  if (value < 0x40000000) {
    target.writeUInt32BE((value | 0x80000000) >>> 0, at)
    return at + 4
  }
  target.writeUInt32BE((Math.floor(value / 2 ** 32) | 0xc0000000) >>> 0, at)
  target.writeUInt32BE(value >>> 0, at + 4)
  return at + 8
}

/** Reads what `writeVarint` wrote, one after the other. What is cut off or too large makes it `bad` for good. */
export class Reader {
  readonly data: Buffer
  at = 0
  bad = false

  constructor(data: Buffer) {
    this.data = data
  }

  get left(): number {
    return this.data.length - this.at
  }

  byte(): number {
    const value = this.data[this.at++]
    if (value === undefined) return this.#fail()
    return value
  }

  varint(): number {
    const { data, at } = this
    const first = data[at]
    if (first === undefined) return this.#fail()
    const length = 1 << (first >>> 6)
    if (at + length > data.length) return this.#fail()
    this.at = at + length
    if (length === 1) return first
    if (length === 2) return ((first & 0x3f) << 8) | (data[at + 1] as number)
    if (length === 4) return data.readUInt32BE(at) & 0x3fffffff
    const value = (data.readUInt32BE(at) & 0x3fffffff) * 2 ** 32 + data.readUInt32BE(at + 4)
    return value <= MAX_VARINT ? value : this.#fail()
  }

  /** A piece of the data itself, not a copy. */
  bytes(length: number): Buffer {
    if (length > this.left) {
      this.#fail()
      return this.data.subarray(0, 0)
    }
    this.at += length
    return this.data.subarray(this.at - length, this.at)
  }

  #fail(): number {
    this.bad = true
    this.at = this.data.length
    return 0
  }
}
