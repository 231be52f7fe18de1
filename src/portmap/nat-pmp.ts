import { createSocket, type Socket } from 'node:dgram'
import { PlexusError } from '../errors/index.js'
import { type Endpoint, scopeOf, sleep } from '../net/index.js'
import type { Lease, Mapper, MapperContext } from './protocol.js'

/** Where a router listens (RFC 6886, section 3.1). */
const PORT = 5351
const VERSION = 0
const EXTERNAL_ADDRESS = 0
const MAP_UDP = 1
/** Added to the operation in an answer. */
const ANSWER = 128

/** The result codes (RFC 6886, section 3.5). */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'it does not know the version',
  2: 'it is not allowed',
  3: 'it has no address on the outside',
  4: 'it has no more room',
  5: 'it does not know the operation',
}

/**
 * Waits for an answer, in ms: RFC 6886 section 3.1 begins with 250 and doubles, nine times. A router in the same
 * room answers at once or never, so four have to do.
 */
const WAITS: readonly number[] = [250, 500, 1000, 2000]

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
const LONGEST = 86_400

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

  constructor(context: MapperContext) {
    this.#context = context
  }

  async map(port: number, wanted: number, lifetime: number, signal: AbortSignal): Promise<Lease> {
    const requests = [encodeAddressRequest(), encodeMapRequest(port, wanted, lifetime)]
    const answers = await this.#ask(requests, port, signal)
    const address = answers.find((answer) => answer.operation === 'address')?.address
    const mapped = answers.find((answer) => answer.operation === 'map')
    if (address === undefined || !mapped) throw unanswered()
    const external: Endpoint = { address, port: mapped.external }
    if (mapped.external === 0 || mapped.lifetime === 0) throw declined('it granted nothing')
    if (!believable(external)) throw declined(`${address} is no address of the outside`)
    return { external, lifetime: Math.min(mapped.lifetime, LONGEST) }
  }

  async unmap(port: number, _external: number, signal: AbortSignal): Promise<void> {
    await this.#ask([encodeMapRequest(port, 0, 0)], port, signal)
  }

  /** Sends the requests until each has its answer, and gives the answers. */
  async #ask(requests: readonly Buffer[], port: number, signal: AbortSignal): Promise<NatPmpAnswer[]> {
    const { clock } = this.#context
    signal.throwIfAborted()
    const socket = await this.#connected()
    const enough = new AbortController()
    const onabort = () => enough.abort(signal.reason)
    signal.addEventListener('abort', onabort, { once: true })
    const answers = new Map<number, NatPmpAnswer>()
    let failure: PlexusError | undefined
    const over = (error?: PlexusError) => {
      failure ??= error
      enough.abort()
    }
    socket.on('error', () => over(unanswered()))
    socket.on('message', (data) => {
      const answer = decodeAnswer(data)
      if (answer?.operation === 'refused') over(declined(answer.why))
      else if (answer?.operation === 'address') answers.set(EXTERNAL_ADDRESS, answer)
      else if (answer?.operation === 'map' && answer.internal === port) answers.set(MAP_UDP, answer)
      if (answers.size === requests.length) over()
    })
    try {
      for (const wait of WAITS) {
        for (const request of requests) {
          // that the port is closed is told to whichever call comes next
          if (!answers.has(request.readUInt8(1))) socket.send(request, (error) => error && over(unanswered()))
        }
        await sleep(clock, wait, enough.signal).catch(() => {})
        if (enough.signal.aborted) break
      }
      signal.throwIfAborted()
      if (failure) throw failure
      if (answers.size < requests.length) throw unanswered()
      return [...answers.values()]
    } finally {
      signal.removeEventListener('abort', onabort)
      socket.removeAllListeners('message')
      // an ICMP error may still be on the way to a socket that is being closed
      socket.on('error', () => {})
      socket.close()
    }
  }

  /** A socket to which the system delivers what the router sends from this port, and nothing else. */
  #connected(): Promise<Socket> {
    const { gateway } = this.#context
    const socket = createSocket('udp4')
    return new Promise((resolve, reject) => {
      const fail = () => {
        socket.close()
        reject(unanswered())
      }
      socket.once('error', fail)
      socket.bind(0, gateway.own, () => {
        socket.connect(PORT, gateway.address, (error?: Error) => {
          socket.off('error', fail)
          if (error) fail()
          else resolve(socket)
        })
      })
    })
  }
}

/**
 * Whether an external endpoint can be of use to anybody. A private or shared address is that of a router behind
 * another NAT: who is behind the same one can reach it.
 */
export function believable({ address, port }: Endpoint): boolean {
  const scope = scopeOf(address)
  return port > 0 && (scope === 'global' || scope === 'private' || scope === 'shared')
}

function unanswered(): PlexusError {
  return new PlexusError('PORT_MAPPING', 'The router does not answer NAT-PMP.')
}

function declined(why: string): PlexusError {
  return new PlexusError('PORT_MAPPING', `The router maps no port by NAT-PMP: ${why}.`)
}
