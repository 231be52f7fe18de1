import { isIPv4 } from 'node:net'
import type { NodeAddress } from 'hyperdht'

/**
 * The record that names an announcer and the nodes through which it is reached:
 *
 *     version (1 byte, 1) | announcer's key (32) | 0 to 3 × (IPv4 address (4), port (2, big-endian))
 */
export interface Pointer {
  readonly announcer: Buffer
  readonly relays: readonly NodeAddress[]
}

const VERSION = 1
const KEY = 32
const ADDRESS = 6
const MAX_RELAYS = 3

export function encodePointer({ announcer, relays }: Pointer): Buffer {
  const addresses = relays.slice(0, MAX_RELAYS).map(({ host, port }) => {
    const bytes = Buffer.from([...host.split('.').map(Number), 0, 0])
    bytes.writeUInt16BE(port, 4)
    return bytes
  })
  return Buffer.concat([Buffer.from([VERSION]), announcer, ...addresses])
}

/** Reads a pointer that came from the network; undefined if it is not one. */
export function parsePointer(value: Buffer): Pointer | undefined {
  const rest = value.length - 1 - KEY
  if (value[0] !== VERSION || rest < 0 || rest % ADDRESS !== 0 || rest > MAX_RELAYS * ADDRESS)
    return undefined
  const relays: NodeAddress[] = []
  for (let at = 1 + KEY; at < value.length; at += ADDRESS) {
    relays.push({ host: value.subarray(at, at + 4).join('.'), port: value.readUInt16BE(at + 4) })
  }
  return { announcer: value.subarray(1, 1 + KEY), relays: usableRelays(relays) }
}

/** The relays that a packet can be sent to: at most three, whoever named them. */
export function usableRelays(relays: readonly NodeAddress[]): NodeAddress[] {
  return relays
    .filter(({ host, port }) => isIPv4(host) && !/^(0|22[4-9]|2[3-5]\d)\./.test(host) && port > 0)
    .slice(0, MAX_RELAYS)
}
