import { openRendezvous } from '../../../rendezvous/index.js'
import { type PingReport, runPing } from '../../daemon/index.js'
import { PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityName, Repository } from '../../identity/index.js'
import { formatEndpoint } from '../../net/index.js'
import { formatRecord, lastWords, type PairingContext, type PairingEvent } from '../../pairing/index.js'
import { DEFAULT_STUN_SERVERS } from '../../stun/index.js'
import { Carrier } from '../carrier.js'
import { systemClock, systemRandom } from '../clock.js'
import { defaultRepository } from '../flags/defaults.js'
import { dialectFlag } from '../flags/dialect.js'
import { meetingOf } from '../flags/meeting.js'
import { ownIdentity } from '../flags/own-identity.js'
import { resolveFlag } from '../flags/short-name.js'
import type { Values } from '../flags/values.js'
import { stateDirectory } from '../place/state-directory.js'
import { portMapperFor } from '../port-mapper.js'
import { onEndingSignal } from '../process/signals.js'
import { searchingFor } from '../searching.js'
import { logOf } from './servers.js'

/** The bound of `--count`: a ping lasts a few seconds. */
const MOST_ECHOES = 20

/** `plexus ping <peer>`: pairs, sends echoes through the hole and tells how it went. 0 if one of them came back. */
export async function pingCommand(peerText: string, values: Values): Promise<number> {
  const count = values.whole('count', 1, MOST_ECHOES, 5)
  const log = logOf(values, 'warning')
  const repository = await Repository.open(values.path('app-repo') ?? defaultRepository())
  const peer = await repository.resolve(peerText)
  const story = new PingStory(peer)
  const context = await contextOf(values, repository, peer, log, (name) => story.carried(name))
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    controller.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  try {
    const options = { signal: controller.signal, count, tell: (event: PairingEvent) => story.take(event) }
    const report = await runPing(context, peer, options)
    story.echoed(report)
    return report.replies.size > 0 ? 0 : 1
  } finally {
    process.stdout.write(story.text())
    stopListening()
    const givenBack = context.portMapper?.close()
    await lastWords(context.rendezvous)
    await context.rendezvous.close()
    await givenBack
    await context.search?.memory?.settled()
  }
}

/** What a pairing as inviter needs. @throws PlexusError for what is wrong with the flags or the repository */
async function contextOf(
  values: Values,
  repository: Repository,
  peer: IdentityName,
  log: PairingContext['log'],
  oncarried: (name: string) => void,
): Promise<PairingContext> {
  const named = values.text('host-info')
  const given = meetingOf(values)
  const { app, urls, bind, kinds, hops, timeout, stun, options } = given
  const hostName =
    named === undefined
      ? await ownIdentity(repository)
      : await resolveFlag(repository, 'host-info', named, { own: true })
  const dialect = (await repository.dialect(peer)) ?? dialectFlag(values)
  if (dialect === 'plexus-3') {
    throw new PlexusError('DIALECT', 'A plexus 3.x peer knows no ping.', {
      advice: 'Pair with it instead, or give --dialect=native if it speaks that too.',
    })
  }
  const host = await repository.host(hostName)
  await repository.certificate(peer, { host: hostName, date: systemClock.date() })
  const outside = { clock: systemClock, random: systemRandom, log }
  const state = await stateDirectory(values, `${app}\0${formatIdentity(hostName)}`)
  const search = await searchingFor(given, state, log)
  const rendezvous = await openRendezvous(
    urls,
    {
      ...outside,
      stateDirectory: state,
      options,
      environment: process.env,
    },
    { each: (inner) => new Carrier(inner, oncarried) },
  )
  const stunServers = stun.length > 0 ? stun : DEFAULT_STUN_SERVERS
  const portMapper = await portMapperFor(kinds, log)
  const meeting = { app, rendezvous, stunServers, bind, kinds, hops, timeout }
  const helpers = { ...(portMapper ? { portMapper } : {}), ...(search ? { search } : {}) }
  return { ...outside, repository, host, ...meeting, ...helpers }
}

const STEPS = {
  gathered: 'own addresses known',
  posted: 'invite posted',
  answered: 'answered',
  punched: 'punch over',
} as const

const MAPPINGS = {
  'endpoint-independent': 'the same public port for every destination (endpoint-independent)',
  'address-dependent': 'another public port for each destination (symmetric)',
  'address-and-port-dependent': 'another public port for each destination and its port (symmetric)',
  unknown: 'unknown: two STUN servers that answer would tell',
} as const

/** The report of a ping, as far as it came. */
class PingStory {
  readonly #started = systemClock.now()
  readonly #peer: IdentityName
  readonly #steps: string[] = []
  #carrier: string | undefined
  #punched: Extract<PairingEvent, { name: 'punched' }> | undefined
  #report: PingReport | undefined

  constructor(peer: IdentityName) {
    this.#peer = peer
  }

  /** A rendezvous has carried a message to this session; the first one won. */
  carried(name: string): void {
    this.#carrier ??= name
  }

  take(event: PairingEvent): void {
    this.#steps.push(`${STEPS[event.name]} after ${Math.round(systemClock.now() - this.#started)} ms`)
    if (event.name === 'punched') this.#punched = event
  }

  echoed(report: PingReport): void {
    this.#report = report
  }

  text(): string {
    const rows: [string, readonly string[]][] = [
      ['peer', [formatIdentity(this.#peer)]],
      ['answer over', [this.#carrier ?? 'none']],
      ['steps', this.#steps],
    ]
    if (this.#punched) {
      const { candidates, mapping } = this.#punched
      rows.push(['candidates', candidates.map(formatRecord)])
      rows.push(['own NAT', [MAPPINGS[mapping.own]]], ["peer's NAT", [MAPPINGS[mapping.peer]]])
    }
    if (this.#report) rows.push(...outcome(this.#report))
    return rows
      .flatMap(([name, lines]) => lines.map((line, index) => `${(index ? '' : name).padEnd(13)}${line}\n`))
      .join('')
  }
}

function outcome({ passage, sent, replies }: PingReport): [string, readonly string[]][] {
  const { inner, faraway, kind } = passage
  const times = [...replies.values()]
  const ms = (value: number) => value.toFixed(1)
  const average = times.reduce((sum, time) => sum + time, 0) / times.length
  const lost = `${replies.size} of ${sent} echoes came back, ${Math.round(100 - (100 * replies.size) / sent)}% lost`
  const rtt =
    times.length === 0
      ? lost
      : `min ${ms(Math.min(...times))} ms, avg ${ms(average)} ms, max ${ms(Math.max(...times))} ms; ${lost}`
  return [
    ['path', [`${formatEndpoint(inner)} to ${formatEndpoint(faraway)} (${kind})`]],
    ['round trip', [rtt]],
  ]
}
