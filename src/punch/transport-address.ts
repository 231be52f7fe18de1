import { canonicalAddress, type Endpoint, familyOf } from '../net/index.js'

/** Family, address padded to 16 bytes, port. */
export const TRANSPORT_ADDRESS_LENGTH = 19

/** An endpoint as it stands in a datagram. */
export function encodeTransportAddress(endpoint: Endpoint): Buffer {
  const bytes = Buffer.alloc(TRANSPORT_ADDRESS_LENGTH)
  const family = familyOf(endpoint)
  bytes[0] = family
  bytes.set(family === 4 ? v4Bytes(endpoint.address) : v6Bytes(endpoint.address), 1)
  bytes.writeUInt16BE(endpoint.port, 17)
  return bytes
}

/** The endpoint that `encodeTransportAddress` wrote; undefined if it is none. */
export function decodeTransportAddress(bytes: Buffer): Endpoint | undefined {
  const port = bytes.readUInt16BE(17)
  if (port === 0) return undefined
  if (bytes[0] === 4) return { address: bytes.subarray(1, 5).join('.'), port }
  if (bytes[0] !== 6) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(1 + 2 * i).toString(16))
  return { address: canonicalAddress(groups.join(':')), port }
}

function v4Bytes(address: string): number[] {
  return address.split('.').map(Number)
}

function v6Bytes(address: string): Buffer {
  const [head = '', tail] = address.split('::')
  const before = groupBytes(head)
  const after = groupBytes(tail ?? '')
  const bytes = Buffer.alloc(16)
  bytes.set(before)
  bytes.set(after, 16 - after.length)
  return bytes
}

/** The bytes of groups between colons; the last may be an IPv4 address in dots (RFC 5952 section 5). */
function groupBytes(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return v4Bytes(group)
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}
