import { PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityName, type Repository } from '../../identity/index.js'
import { silent } from '../../net/index.js'
import { DEFAULT_STUN_SERVERS } from '../../stun/index.js'
import { checkDialect } from '../checks/dialect.js'
import { exitCodeOf, type Finding, found } from '../checks/finding.js'
import { checkHost, checkPeer, checkRepository } from '../checks/identity.js'
import { checkCommand, checkStateDirectory } from '../checks/place.js'
import { checkRendezvous } from '../checks/rendezvous.js'
import { checkStun } from '../checks/stun.js'
import { systemClock } from '../clock.js'
import { defaultRepository } from '../flags/defaults.js'
import { dialectFlag } from '../flags/dialect.js'
import { meetingOf } from '../flags/meeting.js'
import { ownIdentity } from '../flags/own-identity.js'
import { resolveFlag } from '../flags/short-name.js'
import type { Values } from '../flags/values.js'
import { stateDirectoryOf } from '../place/state-directory.js'
import { onEndingSignal } from '../process/signals.js'
import { logOf } from './servers.js'

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

async function look(values: Values, signal: AbortSignal): Promise<Finding[]> {
  const repository = await checkRepository(values.path('app-repo') ?? defaultRepository())
  const own = await checkOwn(values, repository.repository)
  const hostName = own.name
  const { app, urls, bind, stun, options } = meetingOf(values)
  const identity = hostName ? formatIdentity(hostName) : 'check/check'
  const state = stateDirectoryOf(values, `${app}\0${identity}`)
  // the findings say it all; whoever wants to hear more asks for it
  const log = values.switch('verbose') ? logOf(values) : silent
  const meeting = { identity, app, stateDirectory: state, options, log, signal }
  const found = await Promise.all([
    checkIdentities(values, repository, own),
    checkStateDirectory(state),
    checkCommand(values),
    checkStun(stun.length > 0 ? stun : DEFAULT_STUN_SERVERS, bind, {
      log,
      signal,
    }),
    ...[...new Set(urls)].map((url) => checkRendezvous(url, meeting)),
  ])
  return found.flat()
}

interface Own {
  readonly name?: IdentityName
  readonly findings: readonly Finding[]
}

/** The identity that the flags name, or the only one of the repository with a key. */
async function checkOwn(values: Values, repository: Repository | undefined): Promise<Own> {
  if (repository === undefined) return { findings: [] }
  const named = values.text('host-info')
  try {
    const name =
      named === undefined
        ? await ownIdentity(repository)
        : await resolveFlag(repository, 'host-info', named, { own: true })
    return { name, findings: [] }
  } catch (thrown) {
    return { findings: [found('own identity', thrown)] }
  }
}

async function checkIdentities(
  values: Values,
  { repository, findings }: { repository?: Repository; findings: readonly Finding[] },
  own: Own,
): Promise<Finding[]> {
  const named = values.text('peer-info')
  const all = [...findings, ...own.findings]
  if (repository === undefined) return all
  const date = systemClock.date()
  if (own.name) all.push(...(await checkHost(repository, own.name, date)))
  const dialect = (peer: IdentityName | undefined) =>
    checkDialect(dialectFlag(values), { repository, host: own.name, peer, urls: meetingOf(values).urls })
  if (named === undefined) return [...all, ...(await dialect(undefined))]
  try {
    const peer = await resolveFlag(repository, 'peer-info', named)
    all.push(...(await checkPeer(repository, peer, own.name, date)))
    all.push(...(await dialect(peer)))
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
