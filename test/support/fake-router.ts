import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A router on an address of loopback that answers as a test tells it to. */
export interface FakeRouterOptions {
  /** Answers of NAT-PMP to a request; without it the port is closed. */
  readonly natPmp?: (request: Buffer) => readonly Buffer[]
  /** The location that an answer to a search names; without it nobody answers. */
  readonly location?: (url: string) => string
  /** The answer to a request over HTTP. */
  readonly http?: (request: FakeRequest) => {
    status?: number
    headers?: Record<string, string>
    body: string
  }
}

export interface FakeRequest {
  readonly path: string
  /** The SOAP action after the `#`, or nothing. */
  readonly action: string
  readonly body: string
}

const NAT_PMP = 5351
const SSDP = 1900

/** Linux has all of 127.0.0.0/8 on loopback: nobody else is at this one. */
export const ROUTER = '127.77.7.7'
export const OWN = '127.0.0.1'

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

export function soapFault(code: number): string {
  return `<s:Envelope><s:Body><s:Fault><detail><UPnPError><errorCode>${code}</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>`
}

export class FakeRouter {
  /** Requests over HTTP, by path or action, and those of NAT-PMP, by operation and lifetime. */
  readonly heard: string[] = []
  readonly #sockets: Socket[] = []
  #server: Server | undefined

  static async start(options: FakeRouterOptions): Promise<FakeRouter> {
    const router = new FakeRouter()
    const { natPmp, location, http } = options
    if (natPmp) {
      await router.#listen(NAT_PMP, (request, socket, from) => {
        const lifetime = request.length >= 12 ? ` ${request.readUInt32BE(8)}` : ''
        router.heard.push(`nat-pmp ${request.readUInt8(1)}${lifetime}`)
        for (const answer of natPmp(request)) socket.send(answer, from.port, from.address)
      })
    }
    if (http) {
      const server = createServer((request, response) => {
        let body = ''
        request.setEncoding('utf8').on('data', (text: string) => {
          body += text
        })
        request.once('end', () => {
          const action = /#(\w+)/.exec(String(request.headers.soapaction ?? ''))?.[1] ?? ''
          router.heard.push(action || (request.url ?? ''))
          const answer = http({ path: request.url ?? '', action, body })
          response.on('error', () => {})
          response.writeHead(answer.status ?? 200, { 'content-type': 'text/xml', ...answer.headers })
          response.end(answer.body)
        })
      })
      server.listen(0, ROUTER)
      await once(server, 'listening')
      router.#server = server
    }
    if (location) {
      const { port } = (router.#server?.address() ?? { port: 9 }) as AddressInfo
      const lines = ['HTTP/1.1 200 OK', `LOCATION: ${location(`http://${ROUTER}:${port}`)}`, 'ST: x', '', '']
      await router.#listen(SSDP, (_request, socket, from) => {
        socket.send(lines.join('\r\n'), from.port, from.address)
      })
    }
    return router
  }

  /** Once more does nothing. */
  async stop(): Promise<void> {
    await Promise.all(
      this.#sockets.splice(0).map((socket) => new Promise<void>((done) => socket.close(() => done()))),
    )
    this.#server?.closeAllConnections()
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
