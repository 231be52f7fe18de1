import { isIPv4 } from 'node:net'
import { canonicalAddress } from './endpoint.js'

/**
 * The bytes of an IP address in network order: 4 or 16.
 * @param address in canonical text form, as in every Endpoint
 */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const [head = '', tail] = address.split('::')
  const before = groups(head)
  const after = groups(tail ?? '')
  const gap = new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0)
  const bytes = Buffer.alloc(16)
  for (const [index, group] of [...before, ...gap, ...after].entries()) bytes.writeUInt16BE(group, index * 2)
  return bytes
}

/** The 16-bit groups on one side of `::`; the last one may be a dotted IPv4 address, which makes two. */
function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const v4 = addressBytes(group)
    return [v4.readUInt16BE(0), v4.readUInt16BE(2)]
  })
}

/** The canonical text of an IP address given as its 4 or 16 bytes; an IPv4-mapped IPv6 address becomes IPv4. */
export function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.')
  const text = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(':')
  return canonicalAddress(text)
}
