import HyperDHT, { type KeyPair } from 'hyperdht'
import type { Mailbox } from '../interface.js'
import { derive } from '../mailbox.js'

/**
 * Where the two sides look for each other in the DHT. Everything is derived from the certificate of the accepter,
 * not from its name, so it is found by who holds the certificate; and from the day, so that nodes of the network
 * cannot follow an accepter for ever.
 */
export interface Place {
  /** Accepters announce themselves on it. Nodes that store the announcement learn it, and may announce junk on it. */
  readonly topic: Buffer
  /**
   * Under this key lies a record that names the announcer. Only who holds the certificate can write it, so no junk
   * on the topic hides an accepter; a hostile holder of the certificate can overwrite it, and then the topic remains.
   */
  readonly pointer: KeyPair
}

export type IdentityMailbox = Extract<Mailbox, { kind: 'identity' }>
export type SessionMailbox = Extract<Mailbox, { kind: 'session' }>

const DAY = 86_400_000
/** Within 2 hours of midnight UTC an accepter is at two places, so that a fresh day is not met by a slower search. */
const NEAR_MIDNIGHT = 2 * 3_600_000

/** The number of the UTC day. @param date ms since 1970-01-01 UTC */
export function dayOf(date: number): number {
  return Math.floor(date / DAY)
}

/** The days on which an accepter announces itself: today, and a neighbour near midnight. */
export function announcedDays(date: number): number[] {
  return [...new Set([dayOf(date), dayOf(date - NEAR_MIDNIGHT), dayOf(date + NEAR_MIDNIGHT)])]
}

/** The place of an accepter on a day. */
export function placeOf(mailbox: IdentityMailbox, day: number): Place {
  const text = String(day)
  return {
    topic: derive('plexus dht 1 topic', mailbox.certificate, mailbox.app, text),
    pointer: HyperDHT.keyPair(derive('plexus dht 1 pointer', mailbox.certificate, mailbox.app, text)),
  }
}

/**
 * What an announcer leaves under its own key: proof that it knows the certificate, worthless to any other announcer.
 * It weeds out who knows only the topic; who holds the certificate can make it too.
 */
export function commitment(mailbox: IdentityMailbox, announcer: Uint8Array): Buffer {
  return derive('plexus dht 1 announcer', mailbox.certificate, mailbox.app, announcer)
}

/** The key of the `index`th message to a session mailbox: both sides derive it, nobody else can. */
export function slotKey(mailbox: SessionMailbox, index: number): KeyPair {
  return HyperDHT.keyPair(
    derive('plexus dht 1 slot', mailbox.seed, mailbox.app, mailbox.identity, String(index)),
  )
}
