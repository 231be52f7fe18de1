import {
  type Named,
  type PairingSettings,
  resolveHost,
  resolveNamed,
  stateOwner,
} from '../../assembly/index.js'
import { PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityName, type Repository } from '../../identity/index.js'
import { silent } from '../../net/index.js'
import { stateFolder } from '../../place/index.js'
import { checkDialect } from '../checks/dialect.js'
import { exitCodeOf, type Finding, found } from '../checks/finding.js'
import { checkHost, checkPeer, checkRepository } from '../checks/identity.js'
import { checkLimits } from '../checks/limits.js'
import { checkCommand, checkFlags, checkOutputs, checkStateDirectory } from '../checks/place.js'
import { checkRendezvous } from '../checks/rendezvous.js'
import { checkServices } from '../checks/services.js'
import { checkStun } from '../checks/stun.js'
import { systemClock } from '../clock.js'
import { logOf } from '../flags/log.js'
import { namedBy, pairingSettings } from '../flags/settings.js'
import type { Values } from '../flags/values.js'
import { outsideWith } from '../process/outside.js'
import { onEndingSignal } from '../process/signals.js'

/**
 * `plexus check`: everything that a pairing with these flags needs, looked at side by side, one line a finding with what
 * to do about it. Nobody is invited and no mailbox of somebody else is touched.
 * @returns 0 if all is well, 1 if what failed may pass later, 2 if the configuration has to be changed
 */
export async function checkCommandLine(values: Values): Promise<number> {
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    controller.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  try {
    const findings = await look(values, controller.signal)
    process.stdout.write(values.switch('json') ? asJson(findings) : asText(findings))
    return exitCodeOf(findings)
  } finally {
    stopListening()
  }
}

/** Whom the findings are about where no identity was found. */
const NOBODY: IdentityName = { owner: 'check', pin: 'check' }

async function look(values: Values, signal: AbortSignal): Promise<Finding[]> {
  const settings = pairingSettings(values)
  const { app, meeting, network } = settings
  const repository = await checkRepository(settings.repository)
  const own = await checkOwn(settings, repository.repository)
  const name = own.name ?? NOBODY
  const directory = stateFolder(settings.state, stateOwner(app, name))
  // the findings say it all; whoever wants to hear more asks for it
  const outside = outsideWith(values.switch('verbose') ? logOf(values) : silent)
  const from = { identity: formatIdentity(name), app, directory }
  const found = await Promise.all([
    checkIdentities(settings, namedBy(values, 'peer-info'), repository, own),
    checkStateDirectory(settings.state, stateOwner(app, name)),
    checkCommand(values),
    checkOutputs(values),
    checkFlags(values),
    checkLimits(),
    servicesOf(values, repository.repository, name),
    checkStun(network, outside, signal),
    ...[...new Set(meeting.urls)].map((url) =>
      checkRendezvous({ ...meeting, urls: [url] }, from, outside, signal),
    ),
  ])
  const all = found.flat()
  // each once: what the flags are all refused for may have been found on its own
  return all.filter(
    ({ what, sentence }) =>
      what !== 'flags' || !all.some((one) => one.what !== what && one.sentence === sentence),
  )
}

async function servicesOf(
  values: Values,
  repository: Repository | undefined,
  host: IdentityName,
): Promise<Finding[]> {
  const named = namedBy(values, 'peer-info')
  // a peer that cannot be found is told by the look at identities
  const peer = named && (await repository?.resolve(named.text).catch(() => undefined))
  return named && !peer ? [] : await checkServices(values, repository, host, peer)
}

interface Own {
  readonly name?: IdentityName
  readonly findings: readonly Finding[]
}

/** The identity that the settings name, or the only one of the repository with a key. */
async function checkOwn({ host }: PairingSettings, repository: Repository | undefined): Promise<Own> {
  if (repository === undefined) return { findings: [] }
  try {
    return { name: await resolveHost(repository, host), findings: [] }
  } catch (thrown) {
    return { findings: [found('identity', thrown)] }
  }
}

async function checkIdentities(
  { dialect, meeting }: PairingSettings,
  named: Named | undefined,
  { repository, findings }: { repository?: Repository; findings: readonly Finding[] },
  own: Own,
): Promise<Finding[]> {
  const all = [...findings, ...own.findings]
  if (repository === undefined) return all
  const date = systemClock.date()
  if (own.name) all.push(...(await checkHost(repository, own.name, date)))
  const spoken = (peer: IdentityName | undefined) =>
    checkDialect(dialect, { repository, host: own.name, peer, urls: meeting.urls })
  if (named === undefined) return [...all, ...(await spoken(undefined))]
  try {
    const peer = await resolveNamed(repository, named)
    all.push(...(await checkPeer(repository, peer, own.name, date)))
    all.push(...(await spoken(peer)))
  } catch (thrown) {
    all.push(found('peer', thrown))
  }
  return all
}

function asText(findings: readonly Finding[]): string {
  const widest = Math.max(...findings.map(({ what }) => what.length))
  const lines = findings.map(({ state, what, sentence, advice, code }) => {
    const more = [sentence, ...(advice ? [advice] : []), ...(code ? [`[${code}]`] : [])]
    return `${state.padEnd(5)} ${what.padEnd(widest)}  ${more.join(' ')}`
  })
  // a name or a server's words cannot forge a line
  return lines.map((line) => `${line.replace(/\p{C}/gu, ' ')}\n`).join('')
}

function asJson(findings: readonly Finding[]): string {
  const exit = exitCodeOf(findings)
  return `${JSON.stringify({ ok: exit === 0, exit, findings }, null, 2)}\n`
}
