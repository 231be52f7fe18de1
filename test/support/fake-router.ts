import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, Server } from 'node:http'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server as TcpServer,
  type Socket as TcpSocket,
} from 'node:net'
import { systemClock } from '../../src/cli/clock.js'
import type { Clock } from '../../src/net/index.js'

/** A router on an address of loopback that answers as a test tells it to. */
export interface FakeRouterOptions {
  /** Answers of NAT-PMP to a request; without it the port is closed. */
  readonly natPmp?: (request: Buffer) => readonly Buffer[] | Promise<readonly Buffer[]>
  /** Answers of PCP to a request; without it a router that speaks NAT-PMP says that it does not know the version. */
  readonly pcp?: (request: Buffer) => readonly Buffer[] | Promise<readonly Buffer[]>
  /** The location that an answer to a search names; without it nobody answers. */
  readonly location?: (url: string) => string
  /** Whether it answers to a search; to every one unless told. */
  readonly answersTo?: (target: string) => boolean
  /** The answer to a request over HTTP. */
  readonly http?: (request: FakeRequest) => FakeAnswer | Promise<FakeAnswer>
  /** The bytes of the answer to a request, in place of those of a web server; without an end the connection stays open. */
  readonly raw?: (request: FakeRequest) => { bytes: string | Buffer; end?: boolean; reset?: boolean }
}

export interface FakeAnswer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body: string
}

export interface FakeRequest {
  readonly path: string
  /** The SOAP action after the `#`, or nothing. */
  readonly action: string
  readonly body: string
  /** The request line and the header lines, as they came. */
  readonly head?: string
}

const NAT_PMP = 5351
const SSDP = 1900

/** Linux has all of 127.0.0.0/8 on loopback: each test process has a router of its own, since their ports are fixed. */
export const ROUTER = `127.${64 + ((process.pid >> 16) & 63)}.${(process.pid >> 8) & 255}.${process.pid & 255}`
export const OWN = '127.0.0.1'

/** Time that runs faster, for what has to be waited for. */
export function hurried(times: number): Clock {
  return {
    now: () => systemClock.now() * times,
    date: () => systemClock.date(),
    timer: (ms, callback) => systemClock.timer(ms / times, callback),
  }
}

/** An answer of NAT-PMP: `operation` without the bit that makes it an answer. */
export function natPmpAnswer(
  operation: number,
  fields: {
    version?: number
    result?: number
    address?: string
    internal?: number
    external?: number
    lifetime?: number
  },
): Buffer {
  const { version = 0, result = 0, address, internal = 0, external = 0, lifetime = 600 } = fields
  const answer = Buffer.alloc(operation === 0 ? 12 : 16)
  answer.writeUInt8(version, 0)
  answer.writeUInt8(128 + operation, 1)
  answer.writeUInt16BE(result, 2)
  if (operation === 0) Buffer.from((address ?? '0.0.0.0').split('.').map(Number)).copy(answer, 8)
  else {
    answer.writeUInt16BE(internal, 8)
    answer.writeUInt16BE(external, 10)
    answer.writeUInt32BE(lifetime, 12)
  }
  return answer
}

/** An answer of PCP to MAP that grants what was asked for, but where `fields` say otherwise. */
export function pcpAnswer(
  request: Buffer,
  fields: { result?: number; address?: string; external?: number; lifetime?: number } = {},
): Buffer {
  const { result = 0, address = '0.0.0.0' } = fields
  const answer = Buffer.from(request)
  answer.writeUInt8(0x80 | request.readUInt8(1), 1)
  answer.writeUInt8(result, 3)
  answer.writeUInt32BE(fields.lifetime ?? request.readUInt32BE(4), 4)
  answer.fill(0, 8, 24)
  answer.writeUInt16BE(fields.external ?? request.readUInt16BE(42), 42)
  answer.fill(0, 44, 54).fill(0xff, 54, 56)
  Buffer.from(address.split('.').map(Number)).copy(answer, 56)
  return answer
}

/** A well-behaved answer to both operations. */
export function grant(request: Buffer, address: string, lifetime = 600): Buffer[] {
  if (request.readUInt8(1) === 0) return [natPmpAnswer(0, { address })]
  const internal = request.readUInt16BE(4)
  const wished = request.readUInt32BE(8)
  const external = wished === 0 ? 0 : request.readUInt16BE(6)
  return [natPmpAnswer(1, { internal, external, lifetime: Math.min(wished, lifetime) })]
}

/** A description with one service that maps ports. */
export function description(type: string, control: string, base = ''): string {
  return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">${base}
    <device><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
    <controlURL>/no</controlURL></service></serviceList><deviceList><device><serviceList>
    <service><serviceType>${type}</serviceType><controlURL> ${control} </controlURL></service>
    </serviceList></device></deviceList></device></root>`
}

export function soap(action: string, elements: Record<string, string>): string {
  const inside = Object.entries(elements).map(([name, value]) => `<${name}>${value}</${name}>`)
  return `<s:Envelope><s:Body><u:${action}Response>${inside.join('')}</u:${action}Response></s:Body></s:Envelope>`
}

/** Holds mappings, and answers the four actions on them as the standard has it. */
export class Mappings {
  readonly held = new Map<number, Record<string, string>>()

  answer({ action, body }: FakeRequest): { status?: number; body: string } | undefined {
    const words = Object.fromEntries(
      [...body.matchAll(/<(New\w+)>([^<]*)</g)].map(([, name = '', value = '']) => [name, value]),
    )
    const port = Number(words.NewExternalPort)
    switch (action) {
      case 'AddPortMapping':
        this.held.set(port, words)
        return { body: soap(action, {}) }
      case 'DeletePortMapping':
        return this.held.delete(port) ? { body: soap(action, {}) } : { status: 500, body: soapFault(714) }
      case 'GetSpecificPortMappingEntry': {
        const held = this.held.get(port)
        return held ? { body: soap(action, held) } : { status: 500, body: soapFault(714) }
      }
      case 'GetGenericPortMappingEntry': {
        const held = [...this.held.values()][Number(words.NewPortMappingIndex)]
        return held ? { body: soap(action, held) } : { status: 500, body: soapFault(713) }
      }
      default:
        return undefined
    }
  }
}

export function soapFault(code: number): string {
  return `<s:Envelope><s:Body><s:Fault><detail><UPnPError><errorCode>${code}</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>`
}

export class FakeRouter {
  /** Requests over HTTP, by path or action, and those of NAT-PMP, by operation and lifetime. */
  readonly heard: string[] = []
  readonly #sockets: Socket[] = []
  readonly #open = new Set<TcpSocket>()
  #server: Server | TcpServer | undefined

  static async start(options: FakeRouterOptions): Promise<FakeRouter> {
    const router = new FakeRouter()
    const { natPmp, pcp, location, http, raw, answersTo = () => true } = options
    if (natPmp || pcp) {
      await router.#listen(NAT_PMP, async (request, socket, from) => {
        if (request.readUInt8(0) === 2) {
          router.heard.push(`pcp ${request.readUInt8(1)} ${request.readUInt32BE(4)}`)
          const answers = (await pcp?.(request)) ?? [natPmpAnswer(request.readUInt8(1), { result: 1 })]
          for (const answer of answers) socket.send(answer, from.port, from.address)
          return
        }
        if (!natPmp) return
        const lifetime = request.length >= 12 ? ` ${request.readUInt32BE(8)}` : ''
        router.heard.push(`nat-pmp ${request.readUInt8(1)}${lifetime}`)
        for (const answer of await natPmp(request)) socket.send(answer, from.port, from.address)
      })
    }
    if (http) {
      const server = createServer((request, response) => {
        let body = ''
        request.setEncoding('utf8').on('data', (text: string) => {
          body += text
        })
        request.once('end', async () => {
          const action = /#(\w+)/.exec(String(request.headers.soapaction ?? ''))?.[1] ?? ''
          router.heard.push(action || (request.url ?? ''))
          const answer = await http({ path: request.url ?? '', action, body })
          response.on('error', () => {})
          response.writeHead(answer.status ?? 200, { 'content-type': 'text/xml', ...answer.headers })
          response.end(answer.body)
        })
      })
      server.listen(0, ROUTER)
      await once(server, 'listening')
      router.#server = server
    }
    if (raw) {
      const server = createTcpServer((socket) => {
        let text = ''
        socket.on('error', () => {})
        socket.on('data', (data) => {
          text += data.toString('latin1')
          const [head = '', ...rest] = text.split('\r\n\r\n')
          const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
          const body = rest.join('\r\n\r\n')
          if (!text.includes('\r\n\r\n') || body.length < length) return
          const action = /^soapaction: *"[^"#]*#(\w+)"/im.exec(head)?.[1] ?? ''
          const path = head.split(' ')[1] ?? ''
          router.heard.push(action || path)
          const { bytes, end = true, reset = false } = raw({ path, action, body, head })
          text = ''
          socket.write(bytes, () => {
            if (reset) socket.resetAndDestroy()
            else if (end) socket.end()
          })
        })
        router.#open.add(socket)
        socket.once('close', () => router.#open.delete(socket))
      })
      server.listen(0, ROUTER)
      await once(server, 'listening')
      router.#server = server
    }
    if (location) {
      const { port } = (router.#server?.address() ?? { port: 9 }) as AddressInfo
      await router.#listen(SSDP, (request, socket, from) => {
        const target = /^st: *(\S+)/im.exec(request.toString())?.[1] ?? ''
        if (!answersTo(target)) return
        const where = location(`http://${ROUTER}:${port}`)
        socket.send(`HTTP/1.1 200 OK\r\nLOCATION: ${where}\r\nST: x\r\n\r\n`, from.port, from.address)
      })
    }
    return router
  }

  /** Once more does nothing. */
  async stop(): Promise<void> {
    await Promise.all(
      this.#sockets.splice(0).map((socket) => new Promise<void>((done) => socket.close(() => done()))),
    )
    if (this.#server instanceof Server) this.#server.closeAllConnections()
    for (const socket of this.#open) socket.destroy()
    await new Promise<void>((done) => (this.#server ? this.#server.close(() => done()) : done()))
  }

  async #listen(
    port: number,
    answer: (request: Buffer, socket: Socket, from: RemoteInfo) => void,
  ): Promise<void> {
    const socket = createSocket('udp4')
    socket.on('message', (request, from) => answer(request, socket, from))
    socket.bind(port, ROUTER)
    await once(socket, 'listening')
    this.#sockets.push(socket)
  }
}
