import { formatRecord, openPing, type PingReport } from '../../assembly/index.js'
import { PlexusError } from '../../errors/index.js'
import { formatIdentity, type IdentityName } from '../../identity/index.js'
import { formatEndpoint } from '../../net/index.js'
import type { PairingEvent } from '../../watch/index.js'
import { systemClock } from '../clock.js'
import { logOf } from '../flags/log.js'
import { pairingSettings } from '../flags/settings.js'
import type { Values } from '../flags/values.js'
import { outsideWith } from '../process/outside.js'
import { onEndingSignal } from '../process/signals.js'

/** The bound of `--count`: a ping lasts a few seconds. */
const MOST_ECHOES = 20

/** `plexus ping <peer>`: pairs, sends echoes through the hole and tells how it went. 0 if one of them came back. */
export async function pingCommand(peer: string, values: Values): Promise<number> {
  const count = values.whole('count', 1, MOST_ECHOES, 5)
  const log = logOf(values, 'warning')
  const ping = await openPing(pairingSettings(values), { text: peer }, outsideWith(log))
  const story = new PingStory(ping.peer)
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    controller.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  try {
    const report = await ping.run({
      signal: controller.signal,
      count,
      tell: (event) => story.take(event),
      carried: (by) => story.carried(by),
    })
    story.echoed(report)
    return report.replies.size > 0 ? 0 : 1
  } finally {
    process.stdout.write(story.text())
    stopListening()
    await ping.close()
  }
}

const STEPS = {
  gathered: 'local addresses known',
  posted: 'invite posted',
  answered: 'answered',
  punched: 'punch over',
} as const

const MAPPINGS = {
  'endpoint-independent': 'the same public port for every destination (endpoint-independent)',
  'address-dependent': 'a different public port for each destination (symmetric)',
  'address-and-port-dependent': 'a different public port for each destination and port (symmetric)',
  unknown: 'unknown: two STUN servers have to answer',
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
    const step = event.name in STEPS ? STEPS[event.name as keyof typeof STEPS] : undefined
    if (step === undefined) return
    this.#steps.push(`${step} after ${Math.round(systemClock.now() - this.#started)} ms`)
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
      rows.push(['your NAT', [MAPPINGS[mapping.own]]], ["peer's NAT", [MAPPINGS[mapping.peer]]])
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
