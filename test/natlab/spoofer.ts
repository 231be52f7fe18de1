import type { Endpoint } from '../../src/net/index.js'
import type { Machine } from './index.js'

/** Raw sockets are what node has not. */
const SOURCE = `
import os, random, socket, struct, sys
count = int(sys.argv[1])
pairs = [tuple(word.split(',')) for word in sys.argv[2:]]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def datagram(source, destination, payload):
    (sa, sp), (da, dp) = (text.rsplit(':', 1) for text in (source, destination))
    udp = struct.pack('>HHHH', int(sp), int(dp), 8 + len(payload), 0) + payload
    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), random.getrandbits(16), 0, 64, 17, 0,
                     socket.inet_aton(sa), socket.inet_aton(da))
    raw.sendto(ip + udp, (da, 0))
def payload():
    kind = random.randrange(4)
    if kind == 0: return os.urandom(random.randrange(0, 64))
    if kind == 1: return os.urandom(random.randrange(64, 1400))
    # a header of UDX: magic, version, type, where its data is, and the numbers of a stream; every type, the ending ones too
    header = struct.pack('<BBBB', 0xff, 1, random.randrange(64), 0)
    if kind == 2: return header + os.urandom(16)
    return bytes([random.randrange(256)]) + bytes(random.randrange(1, 200))
for _ in range(count):
    for source, destination in pairs: datagram(source, destination, payload())
`

/**
 * Sends datagrams that nobody asked for, with the source address of somebody else: random ones, short and long, and some
 * that look like those of a transport. What sends sees nothing of what the others say.
 * @param count how many for each pair
 */
export async function spoof(
  machine: Machine,
  count: number,
  pairs: readonly { readonly source: Endpoint; readonly destination: Endpoint }[],
): Promise<void> {
  const words = pairs.map(({ source, destination }) => `${text(source)},${text(destination)}`)
  const { stderr, status } = await machine.exec('python3', ['-c', SOURCE, String(count), ...words])
  if (status !== 0) throw new Error(`the spoofer failed: ${stderr}`)
}

function text({ address, port }: Endpoint): string {
  return `${address}:${port}`
}
