import { isIPv4 } from 'node:net'
import { PlexusError } from '../errors/index.js'
import { addressBytes, addressText, type Endpoint, isPublic } from '../net/index.js'
import { exchange, type Questions } from './exchange.js'
import { believable, LONGEST } from './nat-pmp.js'
import type { Lease, Mapper, MapperContext } from './protocol.js'

const VERSION = 2
const MAP = 1
/** The bit that makes a response (RFC 6887, section 7.2). */
const RESPONSE = 0x80
const UDP = 17
const HEADER = 24
const MAP_LENGTH = 60

/** Result codes (RFC 6887, section 7.4). */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'it does not know the version',
  2: 'it is not allowed',
  3: 'it finds the request malformed',
  4: 'it does not know the operation',
  5: 'it does not know an option',
  6: 'it finds an option malformed',
  7: 'its network fails',
  8: 'it has no more room',
  9: 'it maps no UDP',
  10: 'this machine has as many as it may',
  11: 'it has no external port or address to give',
  12: 'it sees another address of this machine: there is a NAT between',
  13: 'it cannot filter for so many peers',
}

/** An answer to MAP, as far as it was one. */
export type PcpAnswer =
  | {
      readonly is: 'granted'
      readonly nonce: Buffer
      readonly internal: number
      readonly external: Endpoint
      /** in seconds */
      readonly lifetime: number
    }
  | { readonly is: 'refused'; readonly why: string }

/** A MAP request (RFC 6887, sections 7.1 and 11.1). @param lifetime in seconds; with 0 the mapping is given back */
export function encodeMap(request: {
  readonly own: string
  readonly nonce: Buffer
  readonly internal: number
  readonly wanted: number
  readonly lifetime: number
}): Buffer {
  const { own, nonce, internal, wanted, lifetime } = request
  const bytes = Buffer.alloc(MAP_LENGTH)
  bytes.writeUInt8(VERSION, 0)
  bytes.writeUInt8(MAP, 1)
  bytes.writeUInt32BE(lifetime, 4)
  sixteen(own).copy(bytes, 8)
  nonce.copy(bytes, HEADER)
  bytes.writeUInt8(UDP, HEADER + 12)
  bytes.writeUInt16BE(internal, HEADER + 16)
  bytes.writeUInt16BE(lifetime === 0 ? 0 : wanted, HEADER + 18)
  // no address is suggested, in the family that is wanted (section 11.1)
  if (isIPv4(own)) sixteen('0.0.0.0').copy(bytes, HEADER + 20)
  return bytes
}

/** Undefined for anything that is no answer to a MAP request. What speaks NAT-PMP alone says so under its own version. */
export function decodeMap(data: Buffer): PcpAnswer | undefined {
  if (data.length < 4) return undefined
  const version = data.readUInt8(0)
  const operation = data.readUInt8(1)
  if ((operation & RESPONSE) === 0) return undefined
  if (version !== VERSION) return refused(1)
  if (data.length < HEADER) return undefined
  const result = data.readUInt8(3)
  if (result !== 0) return refused(result)
  if (operation !== (RESPONSE | MAP) || data.length < MAP_LENGTH) return undefined
  if (data.readUInt8(HEADER + 12) !== UDP) return undefined
  return {
    is: 'granted',
    nonce: data.subarray(HEADER, HEADER + 12),
    internal: data.readUInt16BE(HEADER + 16),
    external: {
      port: data.readUInt16BE(HEADER + 18),
      address: addressText(data.subarray(HEADER + 20, HEADER + 36)),
    },
    lifetime: data.readUInt32BE(4),
  }
}

function refused(result: number): PcpAnswer {
  return { is: 'refused', why: RESULTS[result] ?? `result ${result}` }
}

/** An address in 16 bytes, IPv4 as RFC 4291 section 2.5.5.2 maps it. */
function sixteen(address: string): Buffer {
  return addressBytes(isIPv4(address) ? `::ffff:${address}` : address)
}

/**
 * PCP (RFC 6887), spoken to the default gateway and believed from nobody else. Over IPv4 it maps ports; over IPv6 it opens
 * the router's firewall, and what it names as the outside is this machine itself.
 */
export class Pcp implements Mapper {
  readonly protocol = 'PCP'
  readonly #context: MapperContext
  /** The secrets by which the router knows who asked for a mapping, by internal port: of all that it may hold. */
  readonly #nonces = new Map<number, Buffer>()

  constructor(context: MapperContext) {
    this.#context = context
  }

  async map(port: number, wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease> {
    const first = !this.#nonces.has(port)
    const granted = await this.#ask(port, wanted, lifetime, signal).catch((thrown: unknown) => {
      // what was refused is not there; what nobody waited for may be
      if (first && !signal.aborted) this.#nonces.delete(port)
      throw thrown
    })
    const { external } = granted
    if (granted.lifetime === 0 || external.port === 0) throw declined('it granted nothing')
    const outside = isIPv4(this.#context.gateway.own)
      ? believable(external) && isIPv4(external.address)
      : isPublic(external.address)
    if (!outside) throw declined(`${external.address} is not a public address`)
    return { external, lifetime: Math.min(granted.lifetime, LONGEST) }
  }

  async unmap(port: number, signal: AbortSignal): Promise<void> {
    if (!this.#nonces.has(port)) return
    await this.#ask(port, 0, 0, signal)
    this.#nonces.delete(port)
  }

  async #ask(port: number, wanted: number, lifetime: number, signal: AbortSignal) {
    signal.throwIfAborted()
    const { own } = this.#context.gateway
    const nonce = this.#nonces.get(port) ?? this.#context.random(12)
    this.#nonces.set(port, nonce)
    const request = encodeMap({ own, nonce, internal: port, wanted, lifetime })
    let granted: (PcpAnswer & { is: 'granted' }) | undefined
    const questions: Questions = {
      open: () => (granted ? [] : [request]),
      take(data) {
        const answer = decodeMap(data)
        if (answer?.is === 'refused') throw declined(answer.why)
        if (answer?.internal === port && answer.nonce.equals(nonce)) granted = answer
      },
      unanswered: () => new PlexusError('PORT_MAPPING', 'The router does not answer PCP.'),
    }
    await exchange(this.#context, questions, signal)
    if (!granted) throw questions.unanswered()
    return granted
  }
}

function declined(why: string): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router did not map the port by PCP: ${why}.`)
}
