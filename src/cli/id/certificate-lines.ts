import { type Certificate, expiryNotice } from '../../identity/index.js'
import { systemClock } from '../clock.js'

/** What a person compares, or wants to know, of a certificate: label and value. */
export function certificateLines(certificate: Certificate): [string, string][] {
  return [
    ['fingerprint', certificate.x509.fingerprint256],
    ['subject', printable(certificate.x509.subject ?? '')],
    ['key', keyText(certificate)],
    ['valid', validityText(certificate)],
  ]
}

/** As lines, indented, the values below each other. */
export function indented(lines: readonly (readonly [string, string])[]): string {
  return lines.map(([label, value]) => `  ${label.padEnd(11)}  ${value}\n`).join('')
}

function keyText({ keyKind, publicKey }: Certificate): string {
  if (keyKind === 'rsa') return `RSA, ${publicKey.asymmetricKeyDetails?.modulusLength} bits`
  return keyKind === 'p256' ? 'EC on P-256, 256 bits' : 'EC on P-384, 384 bits'
}

function validityText(certificate: Certificate): string {
  const notice = expiryNotice(certificate, systemClock.date())
  const span = `${day(certificate.notBefore)} to ${day(certificate.notAfter)}`
  return notice ? `${span}: it ${notice}` : span
}

/** The UTC day of a date in ms. */
export function day(date: number): string {
  return new Date(date).toISOString().slice(0, 10)
}

/** What a certificate says cannot forge a second line, nor speak to the terminal. */
export function printable(text: string): string {
  return text.replaceAll('\n', ', ').replace(/\p{C}/gu, ' ')
}
