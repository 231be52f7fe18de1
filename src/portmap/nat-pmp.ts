import { PlexusError } from '../errors/index.js'
import { type Endpoint, isPublic, scopeOf } from '../net/index.js'
import { exchange, type Questions } from './exchange.js'
import type { Lease, Mapper, MapperContext } from './protocol.js'

const VERSION = 0
const EXTERNAL_ADDRESS = 0
const MAP_UDP = 1
/** Added to the operation in an answer. */
const ANSWER = 128

/** The result codes (RFC 6886, section 3.5). */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'it does not know the version',
  2: 'it is not allowed',
  3: 'it has no public address',
  4: 'it has no more room',
  5: 'it does not know the operation',
}

/** An answer of the router, as far as it was what it should be. */
export type NatPmpAnswer =
  | { readonly operation: 'address'; readonly address: string }
  | {
      readonly operation: 'map'
      readonly internal: number
      readonly external: number
      readonly lifetime: number
    }
  | { readonly operation: 'refused'; readonly request: number; readonly why: string }

/** The longest lifetime that is believed, in s: a day. Timers know no more than 24 of them. */
export const LONGEST = 86_400

/** The request for the address on the outside. */
export function encodeAddressRequest(): Buffer {
  return Buffer.from([VERSION, EXTERNAL_ADDRESS])
}

/** @param lifetime in seconds; with 0 the mapping is given back, and `wanted` is 0 too (RFC 6886, section 3.4) */
export function encodeMapRequest(internal: number, wanted: number, lifetime: number): Buffer {
  const request = Buffer.alloc(12)
  request.writeUInt8(VERSION, 0)
  request.writeUInt8(MAP_UDP, 1)
  request.writeUInt16BE(internal, 4)
  request.writeUInt16BE(lifetime === 0 ? 0 : wanted, 6)
  request.writeUInt32BE(lifetime, 8)
  return request
}

/** Undefined for anything that is no answer of this protocol. A router that speaks PCP alone says so under version 2. */
export function decodeAnswer(data: Uint8Array): NatPmpAnswer | undefined {
  const answer = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (answer.length < 4) return undefined
  const request = answer.readUInt8(1) - ANSWER
  // PCP (RFC 6887, section 7.2) has its result in one byte, in the same place
  const result = answer.readUInt16BE(2)
  if (answer.readUInt8(0) !== VERSION) {
    return result === 1 ? { operation: 'refused', request, why: RESULTS[1] ?? '' } : undefined
  }
  if (result !== 0) return { operation: 'refused', request, why: RESULTS[result] ?? `result ${result}` }
  if (request === EXTERNAL_ADDRESS && answer.length >= 12) {
    return { operation: 'address', address: answer.subarray(8, 12).join('.') }
  }
  if (request !== MAP_UDP || answer.length < 16) return undefined
  return {
    operation: 'map',
    internal: answer.readUInt16BE(8),
    external: answer.readUInt16BE(10),
    lifetime: answer.readUInt32BE(12),
  }
}

/** NAT-PMP (RFC 6886), spoken to the default gateway and believed from nobody else. */
export class NatPmp implements Mapper {
  readonly protocol = 'NAT-PMP'
  readonly #context: MapperContext
  /** The internal ports that the router may hold mappings for. */
  readonly #asked = new Set<number>()

  constructor(context: MapperContext) {
    this.#context = context
  }

  async map(port: number, wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease> {
    signal.throwIfAborted()
    const requests = [encodeAddressRequest(), encodeMapRequest(port, wanted, lifetime)]
    const first = !this.#asked.has(port)
    this.#asked.add(port)
    const answers = await this.#ask(requests, port, signal).catch((thrown: unknown) => {
      // what was refused is not there; what nobody waited for may be
      if (first && !signal.aborted) this.#asked.delete(port)
      throw thrown
    })
    const address = answers.find((answer) => answer.operation === 'address')?.address
    const mapped = answers.find((answer) => answer.operation === 'map')
    if (address === undefined || !mapped) throw unanswered()
    const external: Endpoint = { address, port: mapped.external }
    if (mapped.external === 0 || mapped.lifetime === 0) throw declined('it granted nothing')
    if (!believable(external)) throw declined(`${address} is not a public address`)
    return { external, lifetime: Math.min(mapped.lifetime, LONGEST) }
  }

  async unmap(port: number, signal: AbortSignal): Promise<void> {
    if (!this.#asked.has(port)) return
    await this.#ask([encodeMapRequest(port, 0, 0)], port, signal)
    this.#asked.delete(port)
  }

  /** Sends the requests until each has its answer, and gives the answers. */
  async #ask(requests: readonly Buffer[], port: number, signal: AbortSignal): Promise<NatPmpAnswer[]> {
    const answers = new Map<number, NatPmpAnswer>()
    const questions: Questions = {
      open: () => requests.filter((request) => !answers.has(request.readUInt8(1))),
      take(data) {
        const answer = decodeAnswer(data)
        if (answer?.operation === 'refused') throw declined(answer.why)
        if (answer?.operation === 'address') answers.set(EXTERNAL_ADDRESS, answer)
        else if (answer?.operation === 'map' && answer.internal === port) answers.set(MAP_UDP, answer)
      },
      unanswered,
    }
    await exchange(this.#context, questions, signal)
    return [...answers.values()]
  }
}

/**
 * Whether an external endpoint can be of use to anybody. A private or shared address is that of a router behind
 * another NAT: who is behind the same one can reach it.
 */
export function believable({ address, port }: Endpoint): boolean {
  const scope = scopeOf(address)
  return port > 0 && (isPublic(address) || scope === 'private' || scope === 'shared')
}

function unanswered(): PlexusError {
  return new PlexusError('PORT_MAPPING', 'The router does not answer NAT-PMP.')
}

function declined(why: string): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router did not map the port by NAT-PMP: ${why}.`)
}
