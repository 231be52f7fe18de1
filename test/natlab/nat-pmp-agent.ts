/**
 * Runs on a router of the laboratory and maps ports by NAT-PMP (RFC 6886), as many routers do whose own address is behind
 * a carrier's NAT, where miniupnpd declines. Arguments: its address inside, its address outside. It prints a line when it
 * serves. It shares no code with the program that is tested.
 */
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'

const [inside = '', outside = ''] = process.argv.slice(2)

function nft(rules: string): void {
  const { status, stderr } = spawnSync('nft', ['-f', '-'], { input: rules, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

nft('table ip pmp {\nchain inbound { type nat hook prerouting priority dstnat - 1\n}\n}\n')

const socket = createSocket('udp4')
socket.on('message', (request, from) => {
  if (request.readUInt8(0) !== 0) {
    // RFC 6886 section 3.5: what speaks a later version, as PCP does, is told that this is another
    const refusal = Buffer.alloc(8)
    refusal.writeUInt8(128 + request.readUInt8(1), 1)
    refusal.writeUInt16BE(1, 2)
    socket.send(refusal, from.port, from.address)
    return
  }
  const operation = request.readUInt8(1)
  const answer = Buffer.alloc(operation === 0 ? 12 : 16)
  answer.writeUInt8(128 + operation, 1)
  if (operation === 0) Buffer.from(outside.split('.').map(Number)).copy(answer, 8)
  else {
    const internal = request.readUInt16BE(4)
    const lifetime = request.readUInt32BE(8)
    nft('flush chain ip pmp inbound\n')
    if (lifetime > 0) {
      nft(`add rule ip pmp inbound iifname "wan" udp dport ${internal} dnat to ${from.address}:${internal}\n`)
    }
    answer.writeUInt16BE(internal, 8)
    answer.writeUInt16BE(lifetime > 0 ? internal : 0, 10)
    answer.writeUInt32BE(lifetime, 12)
  }
  socket.send(answer, from.port, from.address)
})
socket.bind(5351, inside, () => process.stdout.write('serving\n'))
