import { isAbort, PlexusError } from '../../src/errors/index.js'
import { findProgram } from '../../src/files/index.js'
import { type Logger, sleep } from '../../src/net/index.js'
import { forgetOldest } from '../forget-oldest.js'
import { Inbox } from '../inbox.js'
import type { Envelope, Mailbox, OpenRendezvous, Rendezvous, RendezvousContext } from '../interface.js'
import { messageName } from '../mailbox.js'
import { wrongOption } from '../options.js'
import { abortable, type Scope, scope } from '../scope.js'
import { type Ending, MAX_LINE, Run } from './run.js'
import { postVariables, receiveVariables, type Variables } from './variables.js'

/**
 * A command of the user's as a rendezvous: `exec:/path`, `exec:./path` or `exec:name`, with the options `latency` and
 * `poll` in ms. `command post` reads a sealed message from its standard input, `command receive` prints those that
 * are there, each as one line of base64; PLEXUS_MAILBOX and the other variables say what for. The contract is in
 * docs/writing-a-rendezvous.md. No shell is involved.
 */

/** Bytes of the largest message: what fits a line in base64. */
const MAX_MESSAGE = (MAX_LINE / 4) * 3
/** What is said of the latency when the user says nothing, in ms: two polls, and a copy over the network. */
const LATENCY = 5000
/** Pause in ms before a `receive` that ended well is run again: short for one who waits, long for who starts processes. */
const POLL = 2000
/** The shortest pause, in ms: a process that starts and ends all the time is a mistake. */
const LEAST_POLL = 50
/** The longest that either option may be, in ms: a day. */
const LONGEST = 86_400_000
/** Pauses before a run that failed is repeated, in ms: the first, doubling up to the last. */
const FIRST_RETRY = 1000
const LAST_RETRY = 60_000
/** sysexits(3): what failed now may succeed later. */
const EX_TEMPFAIL = 75
/** What spawn(2) fails with when the machine is short of something, or the file is just being replaced. */
const SHORTAGES: readonly string[] = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'ETXTBSY']
/** Messages remembered so that a command which prints what it printed before wakes nobody. 16 characters each. */
const MAX_REMEMBERED = 4096
/** How much of a line that is no message is shown in the log, in characters. */
const SHOWN = 60

interface Options {
  readonly latency: number
  readonly poll: number
}

const ignore = () => {}

class ExecRendezvous implements Rendezvous {
  readonly name: string
  readonly latency: number
  readonly #file: string
  readonly #poll: number
  readonly #inherited: Variables
  readonly #context: RendezvousContext
  readonly #life: Scope = scope()
  readonly #runs = new Set<Promise<unknown>>()
  /** What `ready` waits for: one for each mailbox that is being received. */
  readonly #starting = new Set<Promise<unknown>>()

  constructor(name: string, file: string, { latency, poll }: Options, context: RendezvousContext) {
    this.name = name
    this.latency = latency
    this.#file = file
    this.#poll = poll
    this.#inherited = context.environment ?? {}
    this.#context = { ...context, log: context.log.child({ rendezvous: name }) }
  }

  async post(envelope: Envelope, sealed: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted()
    this.#life.signal.throwIfAborted()
    if (sealed.length === 0 || sealed.length > MAX_MESSAGE)
      throw new PlexusError(
        'INTERNAL',
        `A message of ${sealed.length} bytes does not fit (1 to ${MAX_MESSAGE}).`,
      )
    const own = scope(signal, this.#life.signal)
    try {
      await this.#persist(envelope, sealed, own.signal)
    } finally {
      own.close()
    }
  }

  receive(mailbox: Mailbox, { signal }: { signal: AbortSignal }): AsyncIterable<Uint8Array> {
    const inbox = new Inbox()
    const own = scope(signal, this.#life.signal)
    let running = () => {}
    const starting = new Promise<void>((resolve) => {
      running = resolve
    })
    this.#starting.add(starting)
    const following = this.#follow(mailbox, inbox, running, own.signal).finally(() => {
      own.close()
      running() // nobody waits for what is over
      this.#starting.delete(starting)
      this.#runs.delete(following)
    })
    this.#runs.add(following)
    return inbox.take(own.signal)
  }

  async ready({ signal }: { signal: AbortSignal }): Promise<void> {
    await Promise.resolve() // who asks in the same turn as it begins to receive means that as well
    await abortable(Promise.all(this.#starting), signal)
  }

  async close(): Promise<void> {
    this.#life.close(new PlexusError('CANCELLED', 'The rendezvous was closed.'))
    await Promise.all(this.#runs)
  }

  /** Runs `post` until it has left the message, or says that it never will. */
  async #persist(envelope: Envelope, sealed: Uint8Array, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#context
    const environment = postVariables(this.#inherited, envelope, sealed)
    const input = `${Buffer.from(sealed).toString('base64')}\n`
    let failure: PlexusError | undefined
    for (let pause = FIRST_RETRY; ; pause = Math.min(2 * pause, LAST_RETRY)) {
      const { run, lastWords } = this.#run('post', environment, signal, ignore, ignore, input)
      // the command is given time to end, but who aborted does not wait for that
      const ending = await abortable(run.ended, signal).catch((reason) => {
        throw failure && !isAbort(reason) ? failure : reason
      })
      if (ending.is === 'exited' && ending.code === 0) return
      failure = this.#failureOf(ending, lastWords())
      if (failure.kind !== 'later') throw failure
      log.warn({ code: failure.code }, `posting failed, retrying: ${failure.message}`)
      await sleep(clock, pause, signal).catch((reason) => {
        throw isAbort(reason) ? reason : failure
      })
    }
  }

  #failureOf(ending: Ending, words: string): PlexusError {
    const passing =
      (ending.is === 'exited' && ending.code === EX_TEMPFAIL) ||
      ending.is === 'killed' ||
      (ending.is === 'unstartable' && SHORTAGES.includes(ending.why))
    const said = words === '' ? '' : `: ${words}`
    const sentence = `${this.#file} post ${told(ending)}${said}`.replace(/\.?$/, '.')
    return passing
      ? new PlexusError('RENDEZVOUS_UNREACHABLE', sentence)
      : new PlexusError('RENDEZVOUS_FOREIGN', sentence, {
          advice: `Fix the command, or let it exit with ${EX_TEMPFAIL} if another attempt could succeed.`,
        })
  }

  /** Runs `receive`, again and again, until the signal aborts. Never throws. */
  async #follow(mailbox: Mailbox, inbox: Inbox, running: () => void, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#context
    const seen = new Set<string>()
    let retry = FIRST_RETRY
    let trouble = ''
    let level: 'warn' | 'debug' = 'warn' // anybody may put junk into some mailboxes: it is said once
    const junk = (line: string, what: string) => {
      log[level]({ line: line.slice(0, SHOWN) }, `${what}: skipped`)
      level = 'debug'
    }
    while (!signal.aborted) {
      const began = clock.now()
      const { run, lastWords } = this.#run(
        'receive',
        receiveVariables(this.#inherited, mailbox),
        signal,
        (line) => {
          const message = messageOf(line)
          if (!message) return junk(line, 'not a message')
          if (news(message, seen)) inbox.push(message)
        },
        (start) => junk(start, `a line of more than ${MAX_LINE} bytes`),
      )
      void run.started.then((runs) => runs && running())
      const ending = await run.ended
      if (signal.aborted) return
      const well = ending.is === 'exited' && ending.code === 0
      const why = well ? '' : `${told(ending)} ${lastWords()}`.trim()
      if (why !== '' && why !== trouble) log.warn({ cause: why }, 'receiving failed, retrying')
      else log.debug({ ...ending }, 'receive ended, running it again')
      trouble = why
      if (well || clock.now() - began > LAST_RETRY) retry = FIRST_RETRY
      await sleep(clock, well ? this.#poll : retry, signal).catch(() => {})
      if (!well) retry = Math.min(2 * retry, LAST_RETRY)
    }
  }

  #run(
    verb: 'post' | 'receive',
    environment: Variables,
    signal: AbortSignal,
    onLine: (line: string) => void,
    onLong: (start: string) => void,
    input?: string,
  ): { run: Run; lastWords: () => string } {
    const { clock } = this.#context
    const log: Logger = this.#context.log.child({ run: verb })
    let last = ''
    const run = new Run(this.#file, {
      clock,
      verb,
      environment,
      ...(input === undefined ? {} : { input }),
      onLine,
      onLong,
      onWords: (words) => {
        last = Buffer.from(words, 'latin1').toString()
        log.debug({}, last)
      },
      signal,
    })
    this.#runs.add(run.ended)
    void run.ended.then(() => this.#runs.delete(run.ended))
    return { run, lastWords: () => last }
  }
}

/** The message in a line of base64; undefined if it is anything else. */
function messageOf(line: string): Buffer | undefined {
  const text = line.trim()
  const message = Buffer.from(text, 'base64')
  return message.length > 0 && message.toString('base64') === text ? message : undefined
}

/** Whether this is the first time that a message comes. */
function news(message: Buffer, seen: Set<string>): boolean {
  const name = messageName(message)
  if (seen.has(name)) return false
  seen.add(name)
  forgetOldest(seen, MAX_REMEMBERED)
  return true
}

function told(ending: Ending): string {
  if (ending.is === 'exited') return `exited with ${ending.code}`
  return ending.is === 'killed' ? `was killed by ${ending.by}` : `could not be started (${ending.why})`
}

/** Opens `exec:command`. @throws PlexusError BAD_RENDEZVOUS, COMMAND_MISSING */
export const open: OpenRendezvous = (url, context) => {
  const bad = (why: string) =>
    new PlexusError('BAD_RENDEZVOUS', `'${url.href}' does not name a command: ${why}.`, {
      advice:
        'Write exec:/path/to/command, exec:./command or the name of one in PATH, optionally with ?latency= in ms.',
    })
  let command: string
  try {
    command = decodeURIComponent(url.pathname)
  } catch {
    throw bad('write a percent sign in a path as %25')
  }
  if (url.host !== '') throw bad('the path must begin with one slash')
  if (url.hash !== '') throw bad('write # in a path as %23')
  if (command === '' || command.includes('\0')) throw bad('it is empty')
  const option = (name: string, fallback: number, least: number): number => {
    const value = Number(url.searchParams.get(name) || fallback)
    if (!(value >= least && value <= LONGEST))
      throw bad(`${name} must be a number of milliseconds, at least ${least}`)
    return value
  }
  const wrong = wrongOption(url, ['latency', 'poll'])
  if (wrong) throw bad(wrong)
  const options = { latency: option('latency', LATENCY, 0), poll: option('poll', POLL, LEAST_POLL) }
  const advice = 'Give exec: the path of an executable file, or make it one with chmod +x.'
  const file = findProgram(command, context.environment?.PATH, { advice })
  return new ExecRendezvous(`exec:${command}`, file, options, context)
}
