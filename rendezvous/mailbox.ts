import { createHash } from 'node:crypto'
import type { Mailbox } from './interface.js'

/** SHA-256 over the parts, each after its length (4 bytes, big-endian), so that no two lists of parts collide. */
export function derive(...parts: readonly (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) {
    const bytes = Buffer.from(part)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    hash.update(length).update(bytes)
  }
  return hash.digest()
}

/**
 * A name for a mailbox, for files and maps: 32 hex digits from which nothing can be learnt, and which only those
 * can compute who hold the receiver's certificate, or the seed of the session.
 */
export function mailboxName(mailbox: Mailbox): string {
  const known = mailbox.kind === 'identity' ? mailbox.certificate : mailbox.seed
  return derive('plexus mailbox 1', mailbox.kind, known, mailbox.app, mailbox.identity).toString('hex', 0, 16)
}

/** A short name of a message, for telling it from others: the first 16 hex digits of its SHA-256. */
export function messageName(message: Uint8Array): string {
  return createHash('sha256').update(message).digest('hex').slice(0, 16)
}
