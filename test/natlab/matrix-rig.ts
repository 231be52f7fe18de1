import { type Lab, SERVER_PREFIX, type Side } from './index.js'
import { type Cell, hasPath, MATRIX_TYPES, type MatrixType, REASONS } from './matrix.js'
import { pathOf } from './neighbourhood.js'
import { type Outcome, PairingRig, type Process } from './pairing-rig.js'

/** What came of one pairing of a cell. */
export interface CellResult {
  readonly cell: Cell
  /** Why it is not as it has to be; undefined if it is. */
  readonly complaint: string | undefined
  /** Until both commands ran, or the inviter gave up, in ms since the inviter's start. */
  readonly ms: number
  /** The kind of path, or the code of the failure. */
  readonly told: string
}

/**
 * How long the pairings of a cell may take, in s: a search its 35, whoever waits for a side that is cut off only what it
 * takes to be sure, all others what a few lost packets cost on a busy machine.
 */
const TIMEOUTS: Readonly<Record<Cell['expected'], number>> = {
  punch: 30,
  prediction: 40,
  search: 45,
  blocked: 20,
  silent: 8,
  impossible: 20,
}

/** What takes longest, and keeps the same few sides busy, begins first, so that the rest fills the gaps. */
const LONGEST_FIRST: readonly Cell['expected'][] = [
  'blocked',
  'silent',
  'search',
  'impossible',
  'prediction',
  'punch',
]

/** How many pairings run side by side that keep the processor busy, and of those that only wait for what cannot come. */
const ROOM = { busy: 5, idle: 24 } as const

/** An inviter and an accepter in every kind of network, the accepters for as long as the matrix is open. */
export class MatrixRig {
  readonly #rig: PairingRig
  readonly #inviters = new Map<MatrixType, Side>()
  readonly #accepters = new Map<MatrixType, Process>()
  readonly #busy = new Set<string>()
  readonly #running = { busy: 0, idle: 0 }
  #wake: (() => void)[] = []

  private constructor(rig: PairingRig) {
    this.#rig = rig
  }

  /** @param types those that are needed */
  static async open(lab: Lab, types: readonly MatrixType[] = MATRIX_TYPES): Promise<MatrixRig> {
    const rig = await PairingRig.open(
      lab,
      types.flatMap((type) => [alice(type), bob(type)]),
    )
    const made = new MatrixRig(rig)
    try {
      for (const [index, type] of types.entries()) {
        made.#inviters.set(type, await lab.side(`a${index}`, type, { spared: [SERVER_PREFIX] }))
      }
      const starting = types.map(async (type, index) => {
        const side = await lab.side(`b${index}`, type, { spared: [SERVER_PREFIX] })
        const accepting = [
          '--accept',
          ...rig.flags(bob(type), [`--state-dir=${rig.directory}/state-${type}`]),
        ]
        const accepter = rig.run(side, accepting)
        made.#accepters.set(type, accepter)
        if (type !== 'udp-blocked') await accepter.said(/^ready/)
      })
      await Promise.all(starting)
      return made
    } catch (thrown) {
      await made.close()
      throw thrown
    }
  }

  /**
   * Runs every cell so many times, several at once; one network has one pairing at a time, for that is what it is
   * measured with.
   */
  async run(
    cells: readonly Cell[],
    times: number,
    onResult: (result: CellResult) => void = () => {},
  ): Promise<CellResult[]> {
    const queue = Array.from({ length: times }, () => cells).flat()
    queue.sort((one, other) => LONGEST_FIRST.indexOf(one.expected) - LONGEST_FIRST.indexOf(other.expected))
    const results: CellResult[] = []
    const under: Promise<void>[] = []
    while (queue.length > 0) {
      const index = queue.findIndex((cell) => this.#isFree(cell))
      if (index < 0) {
        await new Promise<void>((resolve) => this.#wake.push(resolve))
        continue
      }
      const [cell] = queue.splice(index, 1) as [Cell]
      const done = this.#occupy(cell)
      under.push(
        this.#pair(cell)
          .then((result) => {
            results.push(result)
            onResult(result)
          })
          .finally(done),
      )
    }
    await Promise.all(under)
    return results
  }

  async close(): Promise<void> {
    await this.#rig.close()
  }

  #isFree(cell: Cell): boolean {
    const kind = kindOf(cell)
    if (this.#running[kind] >= ROOM[kind]) return false
    return kind === 'idle' || sidesOf(cell).every((side) => !this.#busy.has(side))
  }

  /** @returns lets the sides go */
  #occupy(cell: Cell): () => void {
    const kind = kindOf(cell)
    const sides = kind === 'idle' ? [] : sidesOf(cell)
    this.#running[kind]++
    for (const side of sides) this.#busy.add(side)
    return () => {
      this.#running[kind]--
      for (const side of sides) this.#busy.delete(side)
      for (const wake of this.#wake.splice(0)) wake()
    }
  }

  async #pair(cell: Cell): Promise<CellResult> {
    const { inviter, accepter, expected } = cell
    const from = this.#inviters.get(inviter)
    const to = this.#accepters.get(accepter)
    if (!from || !to) throw new Error(`the matrix was opened without ${inviter} or ${accepter}`)
    const more = [
      ...servers(this.#rig),
      `--timeout=${TIMEOUTS[expected]}`,
      // several of one identity at once would wait for each other's lock
      `--state-dir=${this.#rig.directory}/state-${inviter}-${accepter}`,
    ]
    const process = this.#rig.inviter(from, alice(inviter), bob(accepter), more)
    const outcome = await this.#rig.outcome(process, to)
    const ended = outcome.paired ? outcome.both : (process.events.at(-1)?.time ?? 0) - process.started
    const told = outcome.paired ? (pathOf(outcome)?.kind ?? 'paired') : codeOf(process)
    return { cell, complaint: complaintOf(cell, outcome, told), ms: Math.round(ended), told }
  }
}

/** Whether a pairing has work to do, or waits for a side that is cut off. */
function kindOf({ expected }: Cell): keyof typeof ROOM {
  return expected === 'blocked' || expected === 'silent' ? 'idle' : 'busy'
}

/** Two servers, as everybody has who names none. */
function servers(rig: PairingRig): string[] {
  return [`--stun-server=${rig.stunServer}`, `--stun-server=${rig.otherStunServer}`]
}

function complaintOf(
  { inviter, accepter, expected }: Cell,
  outcome: Outcome,
  told: string,
): string | undefined {
  const right = hasPath(expected)
    ? outcome.paired
    : !outcome.paired && REASONS[expected].some((code) => code === told)
  return right ? undefined : `${inviter} × ${accepter}: ${told} in place of ${expected}\n${outcome.story}`
}

/** The code in the last line of a program that failed. */
function codeOf({ lines }: Process): string {
  for (const line of lines.toReversed()) {
    const [, code] = /\[([A-Z_]+)\]$/.exec(line) ?? []
    if (code !== undefined) return code
  }
  return 'no code'
}

function sidesOf({ inviter, accepter }: Cell): string[] {
  return [`inviter ${inviter}`, `accepter ${accepter}`]
}

function alice(type: MatrixType): string {
  return `alice@px.test/${type}`
}

function bob(type: MatrixType): string {
  return `bob@px.test/${type}`
}
