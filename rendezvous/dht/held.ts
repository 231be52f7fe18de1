import HyperDHT, { type NodeAddress, type Query, type QueryOptions } from 'hyperdht'
import { openUdx } from '../../src/net/index.js'

/** Nodes that hold a record in HyperDHT (k). A network with fewer is asked node by node, without a search. */
export const REPLICAS = 20
/**
 * Requests under way at the same time, where hyperdht's default of 80 makes a message of five records wait for its
 * next tick 0.75 s later: five searches and 20 nodes to store each record at.
 */
const MAX_WINDOW = 250
/**
 * When a request is sent again, in ms: by the round trips that were measured, where hyperdht's default is every
 * second. It counts lost packets as round trips, so without the low maximum a lossy path ends in pauses of 4 s.
 * `fallback` is for nodes not heard of before; without an age its cache needs no timer, which nobody would stop.
 */
const RETRANSMISSION = {
  min: 150,
  max: 450,
  jitter: 100,
  fallback: [350, 500, 700, 1000, 1000],
  maxAge: Number.POSITIVE_INFINITY,
  maxSize: 4096,
}

export interface HeldOptions extends QueryOptions {
  /** Is handed the query of an operation. */
  onquery?: (query: Query<unknown>) => void
}

/** HyperDHT makes the query of every operation here: the one place where it can be taken hold of. */
export class HeldDht extends HyperDHT {
  /** Whether it is known by now that a small network is one. */
  settled = false

  /** @param bootstrap the nodes to join by; undefined is the public network */
  constructor(bootstrap: readonly NodeAddress[] | undefined) {
    super({
      udx: openUdx(),
      ephemeral: true,
      // always meet through the nodes: what works behind every NAT needs no test of what this one lets in
      quickFirewall: false,
      port: [0, 0],
      maxWindow: MAX_WINDOW,
      adaptiveTimeout: RETRANSMISSION,
      ...(bootstrap ? { bootstrap } : {}),
    })
  }

  override query(request: object, options: HeldOptions = {}) {
    const query = super.query(request, { ...options, ...this.#wholeNetwork(options) })
    options.onquery?.(query)
    return query
  }

  /**
   * In a network of fewer nodes than hold a record hyperdht would ask every bootstrap node too, each time: a dead
   * one would hold everything up for seconds. All nodes are known there, so they are asked, and nobody else.
   */
  #wholeNetwork(options: QueryOptions): QueryOptions {
    if (!this.settled || options.nodes?.length) return {}
    const nodes = this.toArray({ limit: REPLICAS })
    return nodes.length > 0 && nodes.length < REPLICAS ? { nodes, onlyClosestNodes: true } : {}
  }

  /** Own addresses are never shared with anybody, so there is no need to open sockets to try them out. */
  override async validateLocalAddresses() {
    return []
  }
}
