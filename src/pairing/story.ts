import { formatEndpoint } from '../net/index.js'
import type { Candidate, PunchEvent } from '../punch/index.js'
import type { CandidateSteps } from '../watch/index.js'

/** What became of one candidate of the peer; times in ms since the punch began. */
export interface CandidateRecord {
  readonly candidate: Candidate
  checked?: number
  heard?: number
  proven?: number
  nominated?: number
  /** The shortest round trip that was measured, in ms. */
  rtt?: number
}

/** The story of every candidate of a punch, in the order in which they were met. */
export class CandidateStory {
  readonly #records = new Map<string, CandidateRecord>()
  #heard: 'nothing' | 'peer' = 'nothing'

  /** @param ms since the punch began */
  note(event: PunchEvent, ms: number): void {
    if (event.name === 'state' || event.name === 'attempt') return
    const key = formatEndpoint(event.candidate.endpoint)
    const record = this.#records.get(key) ?? { candidate: event.candidate }
    this.#records.set(key, record)
    record[event.name] ??= ms
    if (event.name === 'heard' || event.name === 'proven') this.#heard = 'peer'
    if ('rtt' in event && event.rtt !== undefined) {
      record.rtt = Math.min(record.rtt ?? Number.POSITIVE_INFINITY, event.rtt)
    }
  }

  /** Whether anything authentic came from anywhere; what echoes a challenge at once is proven without having been heard. */
  get heard(): boolean {
    return this.#heard === 'peer'
  }

  /** Whether one of these addresses gave back what was sent to it: to be heard from elsewhere proves nothing about them. */
  found(addresses: ReadonlySet<string>): boolean {
    return this.records().some(
      ({ candidate, proven }) => proven !== undefined && addresses.has(candidate.endpoint.address),
    )
  }

  records(): CandidateRecord[] {
    return [...this.#records.values()]
  }
}

/** `reflexive 192.0.2.1:4000: checked after 0 ms, heard after 31 ms, proven after 33 ms, round trip 2.1 ms` */
export function formatRecord(record: CandidateSteps): string {
  const steps = (['checked', 'heard', 'proven', 'nominated'] as const).flatMap((step) => {
    const at = record[step]
    return at === undefined ? [] : [`${step} after ${Math.round(at)} ms`]
  })
  if (record.heard === undefined && record.proven === undefined) steps.push('never heard')
  if (record.rtt !== undefined) steps.push(`round trip ${record.rtt.toFixed(1)} ms`)
  const { kind, endpoint } = record.candidate
  return `${kind} ${formatEndpoint(endpoint)}: ${steps.join(', ')}`
}
