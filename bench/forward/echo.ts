/**
 * A TCP service that sends back what it gets, and the client that takes the time.
 *
 *     node dist/bench/forward/echo.js serve <port>
 *     node dist/bench/forward/echo.js ask <address> <port> <times>
 *
 * The client prints a line of JSON: the medians of the time of an echo of 64 bytes, and of that from the beginning
 * of a fresh connection to the first byte that comes back, in ms.
 */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { systemClock } from '../../src/cli/clock.js'
import { median } from '../median.js'

/** What the client finds, in ms. */
export interface Latency {
  readonly echo: number
  readonly first: number
}

const MESSAGE = Buffer.alloc(64, 1)
/** How many fresh connections there are at least. */
const FIRSTS = 15
/** Echoes that do not count: code that has not been compiled yet. */
const WARM_UP = 20

async function echo(socket: Socket): Promise<number> {
  const began = systemClock.now()
  let missing = MESSAGE.length
  socket.write(MESSAGE)
  while (missing > 0) {
    const [data] = (await once(socket, 'data')) as [Buffer]
    missing -= data.length
  }
  return systemClock.now() - began
}

async function first(address: string, port: number): Promise<number> {
  const began = systemClock.now()
  const socket = connect({ host: address, port, noDelay: true })
  socket.write('?')
  await once(socket, 'data')
  const took = systemClock.now() - began
  socket.destroy()
  return took
}

async function ask(address: string, port: number, times: number): Promise<Latency> {
  const socket = connect({ host: address, port, noDelay: true })
  await once(socket, 'connect')
  const echoes: number[] = []
  for (let time = 0; time < times + WARM_UP; time++) echoes.push(await echo(socket))
  socket.destroy()
  const firsts: number[] = []
  for (let time = 0; time < Math.max(FIRSTS, times / 10); time++) firsts.push(await first(address, port))
  return { echo: median(echoes.slice(WARM_UP)), first: median(firsts) }
}

const [, , what, ...words] = process.argv
if (what === 'serve') {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {}).pipe(socket)
  })
  server.listen(Number(words[0]), () => process.stdout.write('ready\n'))
} else if (what === 'ask') {
  const [address = '', port, times] = words
  process.stdout.write(`${JSON.stringify(await ask(address, Number(port), Number(times)))}\n`)
}
