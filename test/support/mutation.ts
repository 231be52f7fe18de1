/** Numbers from 0 to 1, the same for the same seed. */
export type Numbers = () => number

/** Values at which lengths, tags and counts turn: most of the danger is there. */
const BOUNDARIES = [0x00, 0x01, 0x03, 0x04, 0x14, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xa0, 0xfe, 0xff]

/** The most bytes that one change puts in, takes out or copies. */
const LONGEST_CHANGE = 64

/**
 * A copy of `sample` with one to eight changes such as a network or an enemy may make: bits and bytes, boundary values,
 * what is cut, put in, taken out, copied elsewhere, and pieces of `other`.
 */
export function mutated(sample: Uint8Array, other: Uint8Array, next: Numbers): Buffer {
  const pick = (limit: number) => Math.floor(next() * limit)
  let data = Buffer.from(sample)
  for (let changes = 1 + pick(8); changes > 0; changes--) {
    const at = pick(data.length)
    const length = 1 + pick(LONGEST_CHANGE)
    const rest = data.subarray(at)
    const spliced = (middle: Uint8Array, skip: number) =>
      Buffer.concat([data.subarray(0, at), middle, rest.subarray(Math.min(rest.length, skip))])
    switch (pick(8)) {
      case 0:
        if (data.length > 0) data.writeUInt8(data.readUInt8(at) ^ (1 << pick(8)), at)
        break
      case 1:
        if (data.length > 0) data.writeUInt8(pick(256), at)
        break
      case 2:
        if (data.length > 0) data.writeUInt8(BOUNDARIES[pick(BOUNDARIES.length)] ?? 0, at)
        break
      case 3:
        // rarely: what is cut short is refused at once, and the other changes were for nothing
        data = pick(4) === 0 ? data.subarray(0, at) : data
        break
      case 4:
        data = spliced(Buffer.alloc(length, pick(256)), 0)
        break
      case 5:
        data = spliced(Buffer.alloc(0), length)
        break
      case 6: {
        const from = pick(data.length)
        data = spliced(Buffer.from(data.subarray(from, from + length)), pick(2) * length)
        break
      }
      default: {
        const from = pick(other.length)
        data = spliced(other.subarray(from, from + length), pick(2) * length)
      }
    }
  }
  return data
}

/** What a value of another type, or of an unlikely size, may be in place of one that a parser expects. */
const STRANGERS: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e308,
  2 ** 53,
  '',
  ' ',
  '\u0000',
  '../..',
  '\ud800',
  'x'.repeat(5000),
  [],
  {},
  [[[[[[]]]]]],
  '[::1]:0',
  'host 999.1.1.1:80',
  'host [fe80::1%eth0]:1',
  'AAAA'.repeat(11),
  { toString: 'x', length: 1, __proto__: null },
]

/** A copy of a JSON value in which here and there something is another thing, is missing, is doubled, or is nested. */
export function mutatedJson(value: unknown, next: Numbers): unknown {
  const pick = (limit: number) => Math.floor(next() * limit)
  if (pick(12) === 0) return STRANGERS[pick(STRANGERS.length)]
  if (typeof value === 'string')
    return pick(8) === 0 ? mutated(Buffer.from(value), Buffer.from('/: []%\u202e'), next).toString() : value
  if (Array.isArray(value)) {
    const items = value.flatMap((item) => Array.from({ length: pick(20) === 0 ? pick(60) : 1 }, () => item))
    return items.map((item) => mutatedJson(item, next))
  }
  if (typeof value !== 'object' || value === null) return pick(8) === 0 ? pick(2 ** 48) : value
  const entries = Object.entries(value).filter(() => pick(20) > 0)
  return Object.fromEntries(entries.map(([name, item]) => [name, mutatedJson(item, next)]))
}
