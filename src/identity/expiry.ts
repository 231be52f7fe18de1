import type { Certificate } from './certificate.js'

const DAY = 24 * 3600_000 // ms

/** How long before a certificate expires it is said, in ms: time enough to make a new one and bring it to every peer. */
export const EXPIRY_NOTICE = 30 * DAY

/**
 * What there is to say of a certificate that expires soon, or has: completes "The certificate of …"; nothing while
 * there is time.
 * @param date ms since 1970-01-01 UTC
 */
export function expiryNotice(certificate: Pick<Certificate, 'notAfter'>, date: number): string | undefined {
  const left = certificate.notAfter - date
  if (left > EXPIRY_NOTICE) return undefined
  const day = new Date(certificate.notAfter).toISOString().slice(0, 10)
  if (left < 0) return `expired on ${day}`
  const days = Math.floor(left / DAY)
  return `expires ${days === 0 ? 'within a day' : `in ${days} day${days === 1 ? '' : 's'}`}, on ${day}`
}
