import type { Random } from '../net/index.js'

/**
 * The datagram of the handshake: seven random bytes, of which the lowest bit of the first is the flag, and their XOR,
 * all XORed with the secret. One in 256 random datagrams is valid: this keeps step, it authenticates nothing.
 */
export const DATAGRAM_LENGTH = 8

/** 0: I am here. 1: I have heard you. */
export type Flag = 0 | 1

export function writeDatagram(flag: Flag, secret: bigint, random: Random): Buffer {
  const data = Buffer.alloc(DATAGRAM_LENGTH)
  random(DATAGRAM_LENGTH - 1).copy(data)
  data[0] = ((data[0] ?? 0) & 0xfe) | flag
  data[DATAGRAM_LENGTH - 1] = parity(data)
  return masked(data, secret)
}

/** @returns nothing for what is none with this secret */
export function readDatagram(data: Uint8Array, secret: bigint): Flag | undefined {
  if (data.length !== DATAGRAM_LENGTH) return undefined
  const bytes = masked(data, secret)
  if (parity(bytes) !== 0) return undefined
  return (bytes[0] ?? 0) & 1 ? 1 : 0
}

function parity(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => sum ^ byte, 0)
}

/** Byte i with the i-th byte of the secret, the lowest one first. */
function masked(data: Uint8Array, secret: bigint): Buffer {
  const mask = Buffer.alloc(DATAGRAM_LENGTH)
  mask.writeBigUInt64LE(BigInt.asUintN(64, secret))
  return Buffer.from(data.map((byte, at) => byte ^ (mask[at] ?? 0)))
}
