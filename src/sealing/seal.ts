import { PlexusError } from '../errors/index.js'
import type { Certificate, Host } from '../identity/index.js'
import { envelop, openEnvelope } from './envelope.js'
import { parseSigned, type SignedData, signContent } from './signed.js'

/**
 * The largest sealed message that is made or looked at, in bytes: the longest that a pairing says, with as many candidates
 * as an offer may have, the keys of both sides' certificates at their largest and a post-quantum key, takes some 7 kB.
 */
export const MAX_SEALED = 8 * 1024

/** What an envelope held: content that nobody has vouched for yet, and the check that makes it trusted. */
export type Unverified = SignedData

/**
 * Signs `content` as `from` and encrypts it for `to`: CMS SignedData inside AuthEnvelopedData, in DER. The other
 * side's `Unverified.content` is these octets, unchanged.
 * @throws PlexusError INTERNAL when the content is too large for MAX_SEALED
 */
export async function seal(content: Uint8Array, from: Host, to: Certificate): Promise<Buffer> {
  const sealed = envelop(await signContent(content, from), to)
  if (sealed.length > MAX_SEALED) {
    throw new PlexusError('INTERNAL', `A message of ${content.length} bytes is too large to be sealed.`)
  }
  return sealed
}

/**
 * Opens what was sealed for `host`. Nothing of the content may be believed before `verify` has been called with the
 * certificate that the repository has for whom the content names as its sender.
 * @throws PlexusError MALFORMED when it is no sealed message; UNSEALABLE, always the same, when it does not open
 */
export async function unseal(sealed: Uint8Array, host: Host): Promise<Unverified> {
  if (sealed.length > MAX_SEALED) {
    throw new PlexusError('MALFORMED', `A sealed message of ${sealed.length} bytes is too large.`)
  }
  return parseSigned(await openEnvelope(sealed, host))
}
