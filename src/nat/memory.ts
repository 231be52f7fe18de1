import { createHash } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import {
  type Clock,
  type Filtering,
  type Logger,
  type Mapping,
  type NatBehaviour,
  ownAddresses,
  type PortAllocation,
  sleep,
} from '../net/index.js'
import { KINDS, kindOf } from './kind.js'
import { behaviourOf, type NatReport } from './report.js'

/** How long a measurement is believed while the network looks the same, in ms: routers change seldom, and providers at night. */
const LIFETIME = 24 * 3600_000

/**
 * How long after a change of the network it is measured anew, in ms: what asks then is a pairing, and the sockets of a
 * measurement would take ports of its sequence.
 */
const SETTLING = 20_000

/** How much of a file is read: one of ours is far shorter. */
const MOST_CHARACTERS = 4096

/** What is kept of a measurement. */
export interface Remembered {
  /** Which network it was, as a digest: this machine's addresses are nobody's business. */
  readonly network: string
  /** In ms since 1970-01-01 UTC. */
  readonly measured: number
  readonly behaviour: NatBehaviour
}

export interface NatMemoryOptions {
  readonly clock: Clock
  readonly log: Logger
  /** A file of this program's own, in a directory that nobody else can write; without it nothing outlasts the process. */
  readonly file?: string
  /** The default gateway, which with this machine's addresses tells one network from another. */
  readonly gateway: () => Promise<string | undefined>
}

/** What was measured of the network that this machine is in, for as long as it stays in it. */
export class NatMemory {
  readonly #options: NatMemoryOptions
  #remembered: Remembered | undefined
  /** This machine's addresses when it was measured or read: what can be compared without waiting. */
  #addresses = ''
  #busy: Promise<void> | undefined

  private constructor(options: NatMemoryOptions) {
    this.#options = options
  }

  /** Reads what an earlier process has found out about this network. A file that is missing or damaged is none. */
  static async open(options: NatMemoryOptions): Promise<NatMemory> {
    const memory = new NatMemory(options)
    const { file } = options
    const text = file === undefined ? '' : await readFile(file, 'utf8').catch(() => '')
    const kept = parseRemembered(text)
    const addresses = addressesNow()
    if (kept && kept.network === (await memory.#network(addresses))) {
      memory.#remembered = kept
      memory.#addresses = addresses
    }
    return memory
  }

  /** What is known of this network; undefined when nothing is, or it has changed, or it was too long ago. */
  current(): NatBehaviour | undefined {
    const kept = this.#remembered
    if (!kept || this.#addresses !== addressesNow()) return undefined
    const age = this.#options.clock.date() - kept.measured
    // a clock that was set back makes nothing younger
    return age >= 0 && age < LIFETIME ? kept.behaviour : undefined
  }

  /**
   * Keeps a measurement of this moment's network. Never rejects: what cannot be written is kept in memory.
   * @param options.brief it is not whole: only for this process
   */
  async keep(report: NatReport, { brief = false }: { brief?: boolean } = {}): Promise<void> {
    // nothing is learned from silence: the next look may be in a better moment
    if (report.udp !== 'open') return
    const { file, log } = this.#options
    this.#addresses = addressesNow()
    const network = await this.#network(this.#addresses)
    this.#remembered = { network, measured: report.measured, behaviour: behaviourOf(report) }
    if (file === undefined || brief) return
    const draft = `${file}.new`
    try {
      await writeFile(draft, `${JSON.stringify(this.#remembered)}\n`, { mode: 0o600 })
      await rename(draft, file)
    } catch (error) {
      log.debug({ why: String(error) }, 'the NAT report could not be saved')
      await rm(draft, { force: true }).catch(() => {})
    }
  }

  /**
   * Measures now, unless this network is known, and again whenever it has become another one, until the signal aborts.
   * Returns what `current` is then asked by: asking is what notices a change. Never rejects.
   */
  watch(
    measure: (signal: AbortSignal) => Promise<NatReport>,
    signal: AbortSignal,
    { brief = false }: { brief?: boolean } = {},
  ): () => NatBehaviour | undefined {
    const begin = (delay: number) => {
      if (this.#busy || signal.aborted) return
      this.#busy = this.#measure(measure, delay, brief, signal).finally(() => {
        this.#busy = undefined
      })
    }
    const ask = (delay: number) => {
      const known = this.current()
      if (!known) begin(delay)
      return known
    }
    ask(0)
    return () => ask(SETTLING)
  }

  /** Resolves when no measurement is under way. */
  async settled(): Promise<void> {
    await this.#busy
  }

  async #measure(
    measure: (signal: AbortSignal) => Promise<NatReport>,
    delay: number,
    brief: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log } = this.#options
    try {
      if (delay > 0) await sleep(clock, delay, signal)
      const report = await measure(signal)
      await this.keep(report, { brief })
      const told = `your NAT: ${KINDS[kindOf(report)]}`
      if (brief) log.debug({ took: report.took }, told)
      else log.info({ took: report.took }, told)
    } catch (error) {
      if (!signal.aborted) log.debug({ why: String(error) }, 'your NAT could not be measured')
    }
  }

  async #network(addresses: string): Promise<string> {
    const gateway = await this.#options.gateway().catch(() => undefined)
    return createHash('sha256')
      .update(`${addresses}\n${gateway ?? ''}`)
      .digest('base64url')
  }
}

function addressesNow(): string {
  return ownAddresses()
    .filter(({ family }) => family === 4)
    .map((own) => own.address)
    .sort()
    .join(' ')
}

const DEPENDENCES: readonly Mapping[] = [
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
  'unknown',
]
const POOLINGS: readonly NatBehaviour['pooling'][] = ['paired', 'arbitrary', 'unknown']

/** The one parser of the file: undefined for what `keep` would not have written. */
export function parseRemembered(text: string): Remembered | undefined {
  if (text === '' || text.length > MOST_CHARACTERS) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { network, measured, behaviour } = record(value)
  const { mapping, filtering, allocation, pooling } = record(behaviour)
  const read = {
    mapping: one<Mapping>(DEPENDENCES, mapping),
    filtering: one<Filtering>(DEPENDENCES, filtering),
    allocation: parseAllocation(allocation),
    pooling: one(POOLINGS, pooling),
  }
  if (typeof network !== 'string' || typeof measured !== 'number') return undefined
  if (!read.mapping || !read.filtering || !read.allocation || !read.pooling) return undefined
  const { mapping: m, filtering: f, allocation: a, pooling: p } = read
  return { network, measured, behaviour: { mapping: m, filtering: f, allocation: a, pooling: p } }
}

function parseAllocation(value: unknown): PortAllocation | undefined {
  const { kind, step } = record(value)
  switch (kind) {
    case 'unknown':
    case 'preserved':
    case 'random':
      return { kind }
    case 'sequential':
      return typeof step === 'number' && Number.isInteger(step) && step !== 0 ? { kind, step } : undefined
    default:
      return undefined
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function one<T extends string>(words: readonly T[], value: unknown): T | undefined {
  return words.find((word) => word === value)
}
