import { SocketAddress } from 'node:net'

/** An IP packet as it was on the wire. */
export interface Packet {
  readonly family: 4 | 6
  /** The number of the protocol in it: 17 is UDP, 1 ICMP, 58 ICMPv6. */
  readonly protocol: number
  readonly source: { readonly address: string; readonly port: number | undefined }
  readonly destination: { readonly address: string; readonly port: number | undefined }
  /** TTL or hop limit at the place of the capture, in hops. */
  readonly ttl: number
  /** What the packet carries, in bytes; behind the header of UDP, if it is UDP. */
  readonly length: number
  /** The same bytes; for ICMP from its type on. */
  readonly payload: Buffer
}

const UDP = 17
const TCP = 6
const FILE_HEADER = 24
const RECORD_HEADER = 16
const ETHERNET_HEADER = 14
const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_IPV6 = 0x86dd
const IPV6_HEADER = 40
const UDP_HEADER = 8

/** Reads a capture file (the classic pcap format, of Ethernet, in this machine's byte order) as it is written. */
export class PacketFile {
  #rest: Buffer = Buffer.alloc(0)
  #begun = false

  /** @returns the packets that are complete with these bytes; anything but IP is left out */
  read(data: Buffer): Packet[] {
    this.#rest = Buffer.concat([this.#rest, data])
    if (!this.#begun) {
      if (this.#rest.length < FILE_HEADER) return []
      this.#rest = this.#rest.subarray(FILE_HEADER)
      this.#begun = true
    }
    const packets: Packet[] = []
    while (this.#rest.length >= RECORD_HEADER) {
      const end = RECORD_HEADER + this.#rest.readUInt32LE(8)
      if (this.#rest.length < end) break
      const packet = parse(this.#rest.subarray(RECORD_HEADER, end))
      if (packet) packets.push(packet)
      this.#rest = this.#rest.subarray(end)
    }
    return packets
  }
}

function parse(frame: Buffer): Packet | undefined {
  if (frame.length < ETHERNET_HEADER) return undefined
  const ip = frame.subarray(ETHERNET_HEADER)
  switch (frame.readUInt16BE(12)) {
    case ETHERTYPE_IPV4: {
      const header = ((ip[0] ?? 0) & 15) * 4
      if (ip.length < header || header < 20) return undefined
      const body = ip.subarray(header, ip.readUInt16BE(2))
      const [from, to] = [ip.subarray(12, 16), ip.subarray(16, 20)].map((bytes) => [...bytes].join('.'))
      return packet(4, ip.readUInt8(9), from, to, ip.readUInt8(8), body)
    }
    case ETHERTYPE_IPV6: {
      if (ip.length < IPV6_HEADER) return undefined
      const body = ip.subarray(IPV6_HEADER, IPV6_HEADER + ip.readUInt16BE(4))
      return packet(6, ip.readUInt8(6), text6(ip, 8), text6(ip, 24), ip.readUInt8(7), body)
    }
    default:
      return undefined
  }
}

function packet(
  family: 4 | 6,
  protocol: number,
  from: string | undefined,
  to: string | undefined,
  ttl: number,
  body: Buffer,
): Packet | undefined {
  if (from === undefined || to === undefined) return undefined
  const ports = (protocol === UDP || protocol === TCP) && body.length >= UDP_HEADER
  const payload = protocol === UDP ? body.subarray(UDP_HEADER) : body
  return {
    family,
    protocol,
    source: { address: from, port: ports ? body.readUInt16BE(0) : undefined },
    destination: { address: to, port: ports ? body.readUInt16BE(2) : undefined },
    ttl,
    length: payload.length,
    payload,
  }
}

function text6(ip: Buffer, offset: number): string {
  const words = Array.from({ length: 8 }, (_, i) => ip.readUInt16BE(offset + 2 * i).toString(16))
  return new SocketAddress({ address: words.join(':'), family: 'ipv6' }).address
}
