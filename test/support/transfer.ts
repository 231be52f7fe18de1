/**
 * Many bytes one way and their checksum back, over TCP, each end a process of its own.
 *
 *     node dist/test/support/transfer.js serve <address> <port>
 *     node dist/test/support/transfer.js send <address> <port> <megabytes>
 *
 * The receiver answers with length and SHA-256 once the sender has closed its direction. The sender prints `same`, or what is
 * different, and ends with 0 or 1.
 */
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'

const MEGABYTE = 1_000_000

const [, , what, address = '', port, megabytes] = process.argv

if (what === 'serve') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256')
    let length = 0
    socket.on('data', (data) => {
      hash.update(data)
      length += data.length
    })
    socket.once('end', () => socket.end(`${length} ${hash.digest('hex')}`))
    socket.once('error', () => {}) // the sender's affair
  })
  server.listen(Number(port), address, () => process.stdout.write('ready\n'))
} else if (what === 'send') {
  const hash = createHash('sha256')
  const total = Number(megabytes) * MEGABYTE
  // bytes that no two places have in common, so a block out of its place is noticed
  const source = createCipheriv('aes-128-ctr', randomBytes(16), Buffer.alloc(16))
  const zeros = Buffer.alloc(65_536)
  async function* bytes() {
    for (let sent = 0; sent < total; sent += zeros.length) {
      const block = source.update(zeros.subarray(0, Math.min(zeros.length, total - sent)))
      hash.update(block)
      yield block
    }
  }
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true })
  await once(socket, 'connect')
  const [, answer] = await Promise.all([pipeline(bytes, socket), text(socket)])
  const expected = `${total} ${hash.digest('hex')}`
  process.stdout.write(answer === expected ? 'same\n' : `different: ${answer} is not ${expected}\n`)
  process.exitCode = answer === expected ? 0 : 1
}
