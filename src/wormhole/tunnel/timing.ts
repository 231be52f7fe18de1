/** The side that did not begin waits this much longer, in ms, so that one question and one answer do for both. */
export const KEEP_ALIVE_APART = 500

/** The peer has to prove itself within this, in ms: it may start some seconds later. */
export const SILENT_AFTER = 10_000

/**
 * A side that sent nothing for this long says so, in ms. NATs keep a mapping 30 s and more (RFC 4787 asks for 120); and
 * shorter than DEAD_AFTER, so that a peer whose address changed while it was idle is heard before it is given up.
 */
export const KEEP_ALIVE = 8_000

/** The path is dead when this long nothing answered what wants an answer, in ms. */
export const DEAD_AFTER = 9_500

/** A tick this late tells that the whole process stood still, in ms: that time does not count as silence. */
export const STALL = 2_500

/** A closing side repeats itself so often before it leaves without an answer: after 100, 200, 300, 400 ms at most. */
export const CLOSE_TRIES = 4
export const CLOSE_REPEAT = 100
