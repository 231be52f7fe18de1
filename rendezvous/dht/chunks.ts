/**
 * A message in records of the DHT. The head is a mutable record under a key of its own; what does not fit in it
 * lies in immutable records that it names by their hash:
 *
 *     head = version (1 byte, 1) | length (2, big-endian) | count (1) | count × hash (32) | first bytes
 *     chunk = up to 1000 further bytes, all full but the last
 *
 * The form follows from the length alone, so that there is one encoding of a message and a reader refuses any other.
 */
export interface Chunked {
  readonly head: Buffer
  readonly chunks: readonly Buffer[]
}

/** What a head says, once it was found to be well-formed. */
export interface Head {
  /** Bytes of the whole message. */
  readonly length: number
  readonly hashes: readonly Buffer[]
  readonly first: Buffer
}

/** Bytes of a DHT value: 1000 pass safely, as IP fragments or whole; hyperdht's own limit is 1854. */
export const MAX_VALUE = 1000
/** Bytes of the largest message: a sealed offer with an RSA-4096 key takes 3 to 4 kB. */
export const MAX_MESSAGE = 16384

const VERSION = 1
const HEADER = 4
const HASH = 32

/** How many chunks a message of this length has: the fewest that do. */
function chunkCount(length: number): number {
  let count = 0
  while (inlineCapacity(count) + count * MAX_VALUE < length) count++
  return count
}

/** Bytes of the message that fit in a head with this many hashes. */
function inlineCapacity(count: number): number {
  return MAX_VALUE - HEADER - count * HASH
}

/** Splits a message. @param hash the hash by which the DHT names an immutable record (BLAKE2b, 32 bytes) */
export function split(message: Uint8Array, hash: (data: Uint8Array) => Buffer): Chunked {
  if (message.length === 0 || message.length > MAX_MESSAGE)
    throw new RangeError(`A message has 1 to ${MAX_MESSAGE} bytes, not ${message.length}.`)
  const count = chunkCount(message.length)
  const first = message.subarray(0, inlineCapacity(count))
  const chunks: Buffer[] = []
  for (let at = first.length; at < message.length; at += MAX_VALUE)
    chunks.push(Buffer.from(message.subarray(at, at + MAX_VALUE)))
  const header = Buffer.alloc(HEADER)
  header.writeUInt8(VERSION, 0)
  header.writeUInt16BE(message.length, 1)
  header.writeUInt8(count, 3)
  return { head: Buffer.concat([header, ...chunks.map(hash), first]), chunks }
}

/** Reads a head that came from the network; undefined if it is not one. */
export function parseHead(value: Buffer): Head | undefined {
  if (value.length <= HEADER || value.length > MAX_VALUE || value.readUInt8(0) !== VERSION) return undefined
  const length = value.readUInt16BE(1)
  const count = value.readUInt8(3)
  if (length === 0 || length > MAX_MESSAGE || count !== chunkCount(length)) return undefined
  const inline = Math.min(length, inlineCapacity(count))
  const start = HEADER + count * HASH
  if (value.length !== start + inline) return undefined
  const hashes = Array.from({ length: count }, (_, i) =>
    value.subarray(HEADER + i * HASH, HEADER + (i + 1) * HASH),
  )
  return { length, hashes, first: value.subarray(start) }
}

/** Puts a message together; undefined if the chunks are not those that the head announced. */
export function join(head: Head, chunks: readonly Buffer[]): Buffer | undefined {
  const message = Buffer.concat([head.first, ...chunks])
  const full = chunks.slice(0, -1).every((chunk) => chunk.length === MAX_VALUE)
  return full && chunks.length === head.hashes.length && message.length === head.length ? message : undefined
}
