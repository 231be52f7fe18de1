/**
 * The command that `plexus demo` starts on each side: proves the hole by exchanging a message through it.
 *
 * Arguments: inner ip, inner port, peer ip, peer port, own name. Prints one line on success.
 */
import { createSocket } from 'node:dgram'

/** Between two sends, in ms: the first ones may meet a port that the peer's command has not bound yet. */
const INTERVAL = 50
/** When a hole that carries nothing is called one, in ms. */
const GIVE_UP = 5000
/** Sends after both sides are known to have heard, as the peer may miss them: at 20% loss it does once in 10 million runs. */
const LAST_WORDS = 10

interface Word {
  readonly from: string
  readonly heard: boolean
}

const [innerIp, innerPort, peerIp, peerPort, name] = process.argv.slice(2)
if (!innerIp || !innerPort || !peerIp || !peerPort || !name) {
  process.stderr.write('usage: demo-exchange <inner ip> <inner port> <peer ip> <peer port> <name>\n')
  process.exit(2)
}

const socket = createSocket(innerIp.includes(':') ? 'udp6' : 'udp4')
let peer: string | undefined
let left = LAST_WORDS
let heard = false

const say = () => {
  const word: Word = { from: name, heard: peer !== undefined }
  socket.send(JSON.stringify(word), Number(peerPort), peerIp)
  if (heard && peer !== undefined && left-- === 0) {
    process.stdout.write(`${name} and ${peer} exchanged messages through the hole\n`)
    clearInterval(timer)
    clearTimeout(limit)
    socket.close()
  }
}

function wordOf(data: Buffer): Word | undefined {
  try {
    const value: unknown = JSON.parse(data.toString())
    const { from, heard } = value as Partial<Word>
    return typeof from === 'string' && typeof heard === 'boolean' ? { from, heard } : undefined
  } catch {
    return undefined // a late datagram of the punch
  }
}

socket.on('message', (data) => {
  const word = wordOf(data)
  if (!word) return
  peer ??= word.from
  heard ||= word.heard
})
const timer = setInterval(say, INTERVAL)
const limit = setTimeout(() => {
  process.stderr.write(`nothing came through the hole in ${GIVE_UP / 1000} s\n`)
  process.exit(1)
}, GIVE_UP)
socket.bind(Number(innerPort), innerIp, say)
