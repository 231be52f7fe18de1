import { TRANSPORT_ADDRESS_LENGTH } from './transport-address.js'

/**
 * - `check`: is there a way to you? Wants an answer. It may be an answer itself, by its echo.
 * - `check-ack`: an answer that wants none.
 * - `nominate`: inviter: this path shall it be, unless you say nothing for `remaining` ms.
 * - `confirm`: accepter: I know.
 * - `done`: inviter: I know that you know. The accepter has succeeded.
 * - `done-ack`: accepter: you may stop saying so.
 * - `abort`: this side has failed, for `reason`.
 */
export type ProbeType = 'check' | 'check-ack' | 'nominate' | 'confirm' | 'done' | 'done-ack' | 'abort'

/** The type on the wire is the index here, plus 1. */
const TYPES: readonly ProbeType[] = ['check', 'check-ack', 'nominate', 'confirm', 'done', 'done-ack', 'abort']

/** Bytes of a challenge. 64 bits cannot be guessed in the life of a punch. */
export const CHALLENGE_LENGTH = 8

/** Bytes of every probe before sealing, whatever its type, so that types cannot be told apart by length. */
export const PROBE_LENGTH = 72

/**
 * What a datagram of the punch says. The fields mean the same in every type; those without meaning are zero.
 *
 * ```
 * 0      type
 * 1      nomination
 * 2..3   remaining, ms
 * 4..7   counter
 * 8..15  challenge
 * 16..23 echo
 * 24..27 echoed counter
 * 28..46 observed: family, address, port   (abort: 28..59 the reason)
 * 47..65 path: family, address, port
 * ```
 */
export interface Probe {
  readonly type: ProbeType
  /** Unique in its direction, from 0. */
  readonly counter: number
  /** Which nomination is meant, from 1; 0 where none is. */
  readonly nomination: number
  /** `nominate`: ms until the inviter gives this nomination up. */
  readonly remaining: number
  /** 8 bytes that the sender chose at random for this one destination. */
  readonly challenge: Buffer
  /**
   * The last challenge that the sender received from this destination, or zeros. In `nominate` it is the one that came
   * with the sender's own, so that an accepter with several sockets knows which of them is meant.
   */
  readonly echo: Buffer
  /** The counter of the datagram that this one answers at once, for the round-trip time; NO_COUNTER if none. */
  readonly echoCounter: number
  /** The endpoint of the receiver that the datagram was sent to, as 19 bytes. */
  readonly observed: Buffer
  /**
   * `nominate`: the endpoint of the inviter that the accepter is to use, as 19 bytes: what the accepter itself called
   * it when it answered the inviter's challenge. So the path never depends on where a NOMINATE seems to come from.
   */
  readonly path: Buffer
  /** `abort`: why. A code such as PUNCH_TIMEOUT. */
  readonly reason: string
}

/** An echoed counter that means: this answers nothing. */
export const NO_COUNTER = 0xffffffff

const NOTHING = Buffer.alloc(CHALLENGE_LENGTH)
const NOWHERE = Buffer.alloc(TRANSPORT_ADDRESS_LENGTH)

/** The fields of a probe that says nothing of them. */
export const UNSAID: Omit<Probe, 'type' | 'counter' | 'challenge'> = {
  nomination: 0,
  remaining: 0,
  echo: NOTHING,
  echoCounter: NO_COUNTER,
  observed: NOWHERE,
  path: NOWHERE,
  reason: '',
}

const REASON = /^[A-Z][A-Z0-9_]{0,31}$/
const OBSERVED_AT = 28
const REASON_AT = 28
const PATH_AT = OBSERVED_AT + TRANSPORT_ADDRESS_LENGTH
const REASON_LENGTH = 32

/** A reason that can be sent: codes of up to 32 capitals, digits and underscores; anything else becomes OTHER. */
export function sendableReason(reason: string): string {
  return REASON.test(reason) ? reason : 'OTHER'
}

export function encodeProbe(probe: Probe): Buffer {
  const bytes = Buffer.alloc(PROBE_LENGTH)
  bytes[0] = TYPES.indexOf(probe.type) + 1
  bytes[1] = probe.nomination
  bytes.writeUInt16BE(probe.remaining, 2)
  bytes.writeUInt32BE(probe.counter, 4)
  bytes.set(probe.challenge, 8)
  bytes.set(probe.echo, 16)
  bytes.writeUInt32BE(probe.echoCounter, 24)
  if (probe.type === 'abort') bytes.write(sendableReason(probe.reason), REASON_AT, 'latin1')
  else bytes.set(probe.observed, OBSERVED_AT)
  if (probe.type === 'nominate') bytes.set(probe.path, PATH_AT)
  return bytes
}

/** Parses what an authenticated datagram held; undefined if it is no probe. Bytes without meaning are ignored. */
export function decodeProbe(bytes: Buffer): Probe | undefined {
  if (bytes.length !== PROBE_LENGTH) return undefined
  const type = TYPES[(bytes[0] ?? 0) - 1]
  if (type === undefined) return undefined
  const reason =
    type === 'abort' ? bytes.toString('latin1', REASON_AT, REASON_AT + REASON_LENGTH).replace(/\0+$/, '') : ''
  if (type === 'abort' && !REASON.test(reason)) return undefined
  return {
    type,
    nomination: bytes[1] ?? 0,
    remaining: bytes.readUInt16BE(2),
    counter: bytes.readUInt32BE(4),
    challenge: bytes.subarray(8, 16),
    echo: bytes.subarray(16, 24),
    echoCounter: bytes.readUInt32BE(24),
    observed: bytes.subarray(OBSERVED_AT, PATH_AT),
    path: bytes.subarray(PATH_AT, PATH_AT + TRANSPORT_ADDRESS_LENGTH),
    reason,
  }
}
