import { lookAtServices } from '../../assembly/index.js'
import type { IdentityName, Repository } from '../../identity/index.js'
import { formatService, requireTunnels } from '../../wormhole/index.js'
import { systemClock } from '../clock.js'
import { forwardsOf } from '../flags/forwarding.js'
import type { Values } from '../flags/values.js'
import { type Finding, found, ok, warn } from './finding.js'

/** The services of --export and --import: whose they are, that the imports can listen, and that the exports answer. */
export async function checkServices(
  values: Values,
  repository: Repository | undefined,
  host: IdentityName,
  peer: IdentityName | undefined,
): Promise<Finding[]> {
  const what = 'services'
  let forwards: ReturnType<typeof forwardsOf>
  try {
    forwards = forwardsOf(values, { accept: values.switch('accept') || peer === undefined })
    if (forwards) requireTunnels()
  } catch (thrown) {
    return [found(what, thrown)]
  }
  if (forwards === undefined || repository === undefined) return []
  const seen = await lookAtServices(forwards, { repository, host, peer, clock: systemClock })
  const findings = seen.refused.map((error) => found(what, error))
  for (const [one, { message }] of seen.absent) {
    findings.push(
      warn(what, `${one} is off: ${message}`, 'Import the certificate of that peer: plexus id import.'),
    )
  }
  for (const { share, error } of seen.silent) {
    if (error.code === 'SYSTEM_LIMIT') {
      findings.push(found(what, error, 'warn'))
      continue
    }
    const where = `'${share.name}' (${formatService(share.service)})`
    findings.push(
      warn(
        what,
        `Nothing answers at the export ${where}. ${error.message}`,
        'Start that service, or correct its address.',
      ),
    )
  }
  if (findings.length > 0) return findings
  const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`
  return [ok(what, `${count(seen.exports.length, 'export')}, ${count(seen.imports.length, 'import')}.`)]
}
