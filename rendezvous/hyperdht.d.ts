/** The part of hyperdht 6.34 that is used here; the package brings no types. */
declare module 'hyperdht' {
  import type { EventEmitter } from 'node:events'
  import type { Duplex, Readable } from 'node:stream'

  export interface KeyPair {
    readonly publicKey: Buffer
    readonly secretKey: Buffer
  }

  export interface NodeAddress {
    readonly host: string
    readonly port: number
  }

  export interface Reply {
    readonly from: NodeAddress
    /** What the node saw as our own address. */
    readonly to: NodeAddress
    /** Round-trip time in ms. */
    readonly rtt: number
    /** What the node holds under the target of a request; null is nothing. */
    readonly value: Buffer | null
  }

  export interface Request {
    readonly command: number
    readonly target: Buffer
    readonly token: null
    readonly value: null
  }

  export interface LookupReply extends Reply {
    readonly peers: readonly { publicKey: Buffer; relayAddresses: readonly NodeAddress[] }[]
  }

  /** A search through the network: a stream of the replies on the way. */
  export interface Query<T> extends Readable {
    finished(): Promise<void>
    readonly closestNodes: readonly NodeAddress[]
    [Symbol.asyncIterator](): NodeJS.AsyncIterator<T>
  }

  export interface QueryOptions {
    /** Where to begin, instead of the routing table. */
    nodes?: readonly NodeAddress[]
    /** Ask `nodes` and nobody else. */
    onlyClosestNodes?: boolean
  }

  export interface MutableReply {
    readonly from: NodeAddress
    readonly seq: number
    readonly value: Buffer
  }

  export interface ServerOptions {
    shareLocalAddress?: boolean
    /** True rejects the connection, without an answer. */
    firewall?: (remotePublicKey: Buffer, payload: unknown, address: NodeAddress) => boolean
    holepunch?: false | (() => boolean)
    /** How long the state of a handshake is kept, in ms. */
    handshakeClearWait?: number
  }

  export interface Server extends EventEmitter {
    listen(keyPair: KeyPair): Promise<Server>
    /** Asks for a new announcement within 3 s. */
    refresh(): void
    close(): Promise<void>
    readonly relayAddresses: readonly NodeAddress[]
    /** Not part of its interface: what sleeps up to 3 s before it does what `refresh` asks for. */
    readonly _announcer?: { readonly _sleeper?: { resume(): void } } | null
  }

  export interface ConnectOptions {
    keyPair: KeyPair
    relayAddresses?: readonly NodeAddress[]
    localConnection?: boolean
  }

  export interface HyperDhtOptions {
    bootstrap?: readonly NodeAddress[]
    ephemeral?: boolean
    firewalled?: boolean
    quickFirewall?: boolean
    /** Bind address. */
    host?: string
    /** A port, or the range of ports [from, to): an empty range lets the system choose. */
    port?: number | readonly [number, number]
    anyPort?: boolean
    /** The sockets that it uses, by udx-native. */
    udx?: unknown
    /** Requests under way at the same time. */
    maxWindow?: number
    adaptiveTimeout?: {
      min?: number
      max?: number
      jitter?: number
      fallback?: readonly number[]
      maxAge?: number
      maxSize?: number
    }
  }

  export default class HyperDHT extends EventEmitter<{
    'add-node': [NodeAddress]
    'remove-node': [NodeAddress]
    'network-change': []
    ready: []
  }> {
    constructor(options: HyperDhtOptions)
    /** A node that begins a network, or joins one, and is part of it from the start. */
    static bootstrapper(port: number, host: string, options: HyperDhtOptions): HyperDHT
    static keyPair(seed?: Buffer): KeyPair
    /** BLAKE2b with 32 bytes. */
    static hash(data: Uint8Array): Buffer
    readonly destroyed: boolean
    readonly id: Buffer | null
    fullyBootstrapped(): Promise<void>
    /** Searches for nodes, from the bootstrap nodes when the table is empty. */
    refresh(): void
    toArray(options?: { limit?: number }): NodeAddress[]
    ping(to: NodeAddress, options?: { retry?: boolean }): Promise<Reply>
    request(request: Request, to: NodeAddress, options?: { retry?: boolean }): Promise<Reply>
    /** Called when several requests came to nothing; `online` is false from then until a reply is counted, each 5 s. */
    _offline(): void
    query(request: object, options?: QueryOptions): Query<unknown>
    findPeer(publicKey: Buffer, options?: QueryOptions): Query<Reply>
    lookup(topic: Buffer, options?: QueryOptions): Query<LookupReply>
    announce(
      topic: Buffer,
      keyPair: KeyPair,
      relays: readonly NodeAddress[],
      options?: QueryOptions,
    ): Query<LookupReply>
    unannounce(topic: Buffer, keyPair: KeyPair, options?: QueryOptions): Promise<void>
    immutablePut(value: Uint8Array, options?: QueryOptions): Promise<unknown>
    immutableGet(hash: Uint8Array, options?: QueryOptions): Promise<{ value: Buffer } | null>
    mutablePut(
      keyPair: KeyPair,
      value: Uint8Array,
      options?: QueryOptions & { seq?: number },
    ): Promise<{ closestNodes: readonly NodeAddress[] }>
    mutableGet(
      publicKey: Uint8Array,
      options?: QueryOptions & { latest?: boolean },
    ): Promise<MutableReply | null>
    createServer(options: ServerOptions): Server
    connect(publicKey: Buffer, options: ConnectOptions): Duplex
    validateLocalAddresses(addresses: readonly NodeAddress[]): Promise<readonly NodeAddress[]>
    destroy(options?: { force?: boolean }): Promise<void>
  }
}
