declare module 'udx-native' {
  import type { EventEmitter } from 'node:events'

  export interface UdxAddress {
    host: string
    port: number
    family: 4 | 6
  }

  export class UDXSocket extends EventEmitter<{
    message: [data: Buffer, from: UdxAddress]
    close: []
    listening: []
  }> {
    bind(port?: number, host?: string): void
    address(): UdxAddress | null
    /** Resolves to false if the system refused the packet. A `ttl` of 0 is the system's default. */
    send(data: Uint8Array, port: number, host: string, ttl?: number): Promise<boolean>
    trySend(data: Uint8Array, port: number, host: string, ttl?: number): void
    getRecvBufferSize(): number
    setRecvBufferSize(bytes: number): number
    getSendBufferSize(): number
    setSendBufferSize(bytes: number): number
    close(): Promise<void>
  }

  export default class UDX {
    createSocket(options?: { ipv6Only?: boolean; reuseAddress?: boolean }): UDXSocket
  }
}
