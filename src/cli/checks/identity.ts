import { asPlexusError, type PlexusError } from '../../errors/index.js'
import { type Certificate, formatIdentity, type IdentityName, Repository } from '../../identity/index.js'
import { type Finding, found, ok, warn } from './finding.js'

/** How long before its end a certificate is spoken of, in ms. */
const NOTICE = 30 * 24 * 3_600_000

/** The repository, if there is one, with what was found about it. */
export async function checkRepository(
  path: string,
): Promise<{ repository?: Repository; findings: Finding[] }> {
  try {
    const repository = await Repository.open(path)
    const findings: Finding[] = []
    const unreadable = (error: PlexusError) => void findings.push(found('repository', error, 'warn'))
    const identities = (await repository.list({ unreadable })).length
    const count = `${path} has ${identities} ${identities === 1 ? 'identity' : 'identities'}.`
    return { repository, findings: [ok('repository', count), ...findings] }
  } catch (thrown) {
    return { findings: [found('repository', thrown)] }
  }
}

/** Your identity: certificate, key, that they belong together, who may read and write them, expiry. */
export async function checkHost(
  repository: Repository,
  name: IdentityName,
  date: number,
): Promise<Finding[]> {
  const text = formatIdentity(name)
  try {
    const { certificate } = await repository.host(name)
    const fingerprint = `${text} is ${certificate.fingerprint.toString('hex').slice(0, 16)}….`
    return [
      ok('key', `The private key of ${text} matches, and only its user can read it.`),
      expiry('identity', text, certificate, date) ?? ok('identity', fingerprint),
    ]
  } catch (thrown) {
    const about = asPlexusError(thrown).code.startsWith('KEY_') ? 'key' : 'identity'
    return [found(about, thrown)]
  }
}

/** A peer: that its certificate is there, can be read, and is trusted. */
export async function checkPeer(
  repository: Repository,
  name: IdentityName,
  host: IdentityName | undefined,
  date: number,
): Promise<Finding[]> {
  const text = formatIdentity(name)
  try {
    const certificate = await repository.certificate(name, { host: host ?? name, date })
    return [expiry('peer', text, certificate, date) ?? ok('peer', `The certificate of ${text} is trusted.`)]
  } catch (thrown) {
    return [found('peer', thrown)]
  }
}

/** A pinned certificate is trusted after its end, but other programs that use it may refuse it. */
function expiry(what: string, text: string, certificate: Certificate, date: number): Finding | undefined {
  const { notBefore, notAfter } = certificate
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  if (date < notBefore) {
    return warn(
      what,
      `The certificate of ${text} is not valid before ${day(notBefore)}.`,
      'Check the clock of this machine.',
    )
  }
  if (date + NOTICE < notAfter) return undefined
  const when = date > notAfter ? `expired on ${day(notAfter)}` : `expires on ${day(notAfter)}`
  return warn(what, `The certificate of ${text} ${when}.`, 'Replace it in the repositories of both sides.')
}
