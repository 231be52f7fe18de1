/**
 * Runs inside a namespace and does what it is told there with plain UDP sockets, so that one test sees both ends of a
 * path. It reads one JSON object a line from standard input and writes one a line to standard output; see
 * `remote-socket.ts`. It shares no code with the program that is tested.
 */
import { createSocket, type Socket } from 'node:dgram'
import { createInterface } from 'node:readline'

/** What it is told. Each request is answered with its number. */
export type Request =
  | { op: 'open'; request: number; socket: number; address: string; port: number }
  | { op: 'send'; request: number; socket: number; text: string; address: string; port: number; ttl: number }
  | { op: 'close'; request: number; socket: number }

/** What it says. */
export type Report =
  | { op: 'done'; request: number; port: number }
  | { op: 'failed'; request: number; reason: string }
  | { op: 'received'; socket: number; text: string; address: string; port: number }

/** What Linux sends with unless told otherwise. */
const DEFAULT_TTL = 64

const sockets = new Map<number, Socket>()

function say(report: Report): void {
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

async function obey(request: Request): Promise<number> {
  if (request.op === 'open') {
    const socket = createSocket(request.address.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', (data, { address, port }) => {
      say({ op: 'received', socket: request.socket, text: data.toString(), address, port })
    })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ address: request.address, port: request.port, exclusive: true }, () => {
        socket.off('error', reject)
        // ICMP errors that come back are part of the experiment
        socket.on('error', () => {})
        resolve()
      })
    })
    sockets.set(request.socket, socket)
    return socket.address().port
  }
  const socket = sockets.get(request.socket)
  if (!socket) throw new Error(`there is no socket ${request.socket}`)
  if (request.op === 'close') {
    sockets.delete(request.socket)
    await new Promise<void>((resolve) => socket.close(resolve))
    return 0
  }
  socket.setTTL(request.ttl === 0 ? DEFAULT_TTL : request.ttl)
  // a refused packet (banned, unreachable) is a lost packet
  await new Promise<void>((resolve) =>
    socket.send(request.text, request.port, request.address, () => resolve()),
  )
  return 0
}

// one after the other, for the TTL belongs to the socket and not to the packet
let last: Promise<void> = Promise.resolve()
createInterface({ input: process.stdin }).on('line', (line) => {
  const request = JSON.parse(line) as Request
  last = last.then(async () => {
    try {
      say({ op: 'done', request: request.request, port: await obey(request) })
    } catch (error) {
      say({ op: 'failed', request: request.request, reason: String(error) })
    }
  })
})
process.stdin.on('end', () => process.exit(0))
