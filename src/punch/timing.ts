/**
 * Every interval of the punch, in ms unless said otherwise, with the reason for its value.
 */

/** Between two checks that nobody asked for. ICE's Ta is 50 ms at most and 5 ms at least (RFC 8445 section 14.2). */
export const PACE = 20

/** After the first, TTL-limited packet to an endpoint: ICE's lower limit, as it loads no more than this network. */
export const OPENING_PACE = 5

/** A pair's first retransmission; Tailscale retries after 100 ms as well. */
export const CHECK_INTERVAL = 100
/** What the interval grows to: each second two checks for a pair that stays silent, whatever the loss. */
export const CHECK_INTERVAL_MAX = 500
/** Gentle: a lost packet must not cost seconds. */
export const BACKOFF = 1.3
/** So many checks that the peer asks for go out ahead of the others: more than one pairing needs, with half of them lost. */
export const EAGER_CHECKS = 4
/** A check that answers a datagram of the peer measures the round trip if it goes out within so many ms. */
export const PROMPT = 5
/** A pair that was heard, but not proven yet, is worth asking twice as often. */
export const HEARD_INTERVAL = 50

/**
 * How long the inviter waits for a better path once it has one: the round-trip time of what it has, as a better path
 * is a shorter one and would have answered by then, within these bounds. The lower one covers the pacing of its
 * check, the upper one a retransmission.
 */
export const SETTLE_MIN = 20
export const SETTLE_MAX = 100

/**
 * The same while all that the inviter has is a last resort, such as a path through a VPN: long enough for a direct path
 * with two of its packets lost.
 */
export const SETTLE_LAST_RESORT = 600

/** NOMINATE is repeated this often, growing to the second value: at 30% loss 0.49 of them are answered. */
export const NOMINATE_INTERVAL = 50
export const NOMINATE_INTERVAL_MAX = 200
/**
 * A nomination that nobody confirmed for so long is given up, and the next best path is nominated. It is also the
 * longest that an accepter can be made to wait by one NOMINATE.
 */
export const NOMINATION_LIFETIME = 2_000
/**
 * What an accepter that confirmed waits beyond the inviter's own limit: the 250 ms of DONEs, the slowest network
 * (satellite, 600 ms), and a busy machine on either side.
 */
export const CONFIRM_MARGIN = 2_000

/** How many DONEs are sent, and over which time. 12 at 30% loss are all lost once in 1.9 million pairings. */
export const DONE_COUNT = 12
export const DONE_SPAN = 250
/** An inviter without acknowledgement is settled so long after its first DONE. */
export const SETTLED = 300
/** The accepter hands over at once, so it acknowledges a DONE several times without waiting to be asked again. */
export const ACK_COUNT = 3
/** ICE's lower limit: far enough apart for a short burst of loss, short enough not to be felt. */
export const ACK_GAP = 5

/** A check that the governor holds up for so long is worth telling: the peer has too much at addresses that do not answer. */
export const LONG_WAIT = 250

/** How often a side that gives up says so on each path: at 30% loss all are lost in 1 of 37. */
export const ABORT_COUNT = 3
/** Between two rounds of them, at least. */
export const ABORT_GAP = 30
/** Only the best paths are told. */
export const ABORT_PATHS = 8

/**
 * A tick that comes so late means that the machine slept or stalled: an accepter that confirmed then first reads
 * what arrived meanwhile, for GRACE, before it gives up.
 */
export const LATE = 100
export const GRACE = 250

/** Remote candidates that are taken; more is an attempt to make this machine a source of traffic. */
export const MAX_REMOTE = 32
/** Peer-reflexive ones at a time, and in all: two symmetric NATs that let everything in would make one for every datagram. */
export const MAX_PEER_REFLEXIVE = 16
export const MAX_PEER_REFLEXIVE_TOTAL = 64
