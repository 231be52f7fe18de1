import { dirname, join } from 'node:path'
import { openRendezvous } from '../../../rendezvous/index.js'
import {
  type DaemonSettings,
  failedOutcome,
  keepInviting,
  type Outcome,
  runAccepter,
  runInviter,
} from '../../daemon/index.js'
import { asPlexusError, isAbort, PlexusError } from '../../errors/index.js'
import { Ending, REPEAT_POLICIES } from '../../exec/index.js'
import { formatIdentity, type IdentityName, Repository } from '../../identity/index.js'
import { type Logger, UdpPort } from '../../net/index.js'
import { lastWords, type PairingContext } from '../../pairing/index.js'
import { DEFAULT_STUN_SERVERS } from '../../stun/index.js'
import { Forwarding } from '../../wormhole/index.js'
import { systemClock, systemRandom } from '../clock.js'
import { commandOf } from '../flags/command.js'
import { defaultRepository, PUBLIC_BOOTSTRAP } from '../flags/defaults.js'
import { dialectFlag, dialectOf } from '../flags/dialect.js'
import { announceImports, type Forwards, forwardsOf, resolveForwards } from '../flags/forwarding.js'
import { meetingOf } from '../flags/meeting.js'
import { ownIdentity } from '../flags/own-identity.js'
import { announceEmail } from '../flags/rendezvous-options.js'
import { resolveFlag } from '../flags/short-name.js'
import type { Values } from '../flags/values.js'
import { natWatch } from '../nat-watch.js'
import { reportOn } from '../output/reporting.js'
import { ResultFile } from '../output/result.js'
import { lockDirectory } from '../place/lock.js'
import { stateDirectory } from '../place/state-directory.js'
import { refuseWritable } from '../place/writable.js'
import { portMapperFor } from '../port-mapper.js'
import { OneConnection } from '../process/one-connection.js'
import { onEndingSignal } from '../process/signals.js'
import { standardStreams } from '../process/stdio.js'
import { searchingFor } from '../searching.js'
import { logOf } from './servers.js'

/** A password in the address of a rendezvous. */
const PASSWORD = /^[a-z][a-z0-9+.-]*:(?:\/\/)?[^/@]*:[^/@]+@/i

/** `plexus [--accept] …`: everything that can be wrong with the flags is found before anything is sent. */
export async function pairCommand(values: Values): Promise<number> {
  // a reader that has gone away must not end a daemon
  process.stdout.on('error', () => {})
  const result = ResultFile.of(values)
  let told: Logger | undefined
  const report = (outcome: Outcome) => result?.write(outcome, told)
  let reported = false
  try {
    const code = await pair(values, (outcome, log) => {
      reported = true
      told = log
      report(outcome)
    })
    if (!reported && values.switch('once')) {
      report(failedOutcome(new PlexusError('CANCELLED', 'Ended by a signal before anybody paired.'), {}))
    }
    return code
  } catch (thrown) {
    // what went wrong before there was a pairing: nobody else has told of it
    if (!reported) report(failedOutcome(asPlexusError(thrown), {}))
    throw thrown
  }
}

async function pair(values: Values, report: (outcome: Outcome, log: Logger) => void): Promise<number> {
  const { accept, keep, once } = modeOf(values)
  const hostText = values.text('host-info')
  const peerText = values.text('peer-info')
  const meeting = meetingOf(values)
  const { app, urls, bind, kinds, hops, timeout, stun, options } = meeting
  dialectFlag(values)
  const forwards = forwardsOf(values, { accept })
  // a second login does not end the first; a command that runs twice may be in its own way
  const onRepeat = values.choice('on-repeat', REPEAT_POLICIES, forwards ? 'parallel' : 'replace')
  refuseOnce(once, accept, forwards)
  const log = logOf(values, forwards?.stdio === undefined ? 'info' : 'warning')
  const command = commandOf(values, log)
  if (keep && forwards === undefined && (command === undefined || command.detach)) {
    throw new PlexusError('BAD_FLAG', '--keep needs --exec-command, and that without --exec-detach.')
  }
  if (!accept && peerText === undefined) {
    throw new PlexusError(
      'BAD_FLAG',
      '--peer-info is missing: an inviter needs a peer, only --accept does not.',
    )
  }
  const repository = await openRepository(values)
  const hostName =
    hostText === undefined
      ? await inferred(repository, log)
      : await resolveFlag(repository, 'host-info', hostText, { own: true })
  const peer = peerText === undefined ? undefined : await resolveFlag(repository, 'peer-info', peerText)
  refuseRepository(repository, hostName)
  const host = await repository.host(hostName)
  // without a certificate a peer can be spoken with in the plain mail of plexus 3.x at most
  if (peer && !values.switch('allow-plain')) {
    await repository.certificate(peer, { host: hostName, date: systemClock.date() })
  }
  const plan = forwards && (await resolveForwards(forwards, repository, peer))
  const state = await stateDirectory(values, `${app}\0${formatIdentity(hostName)}`)
  const unlock = accept
    ? lockDirectory(state, `An accepter of ${formatIdentity(hostName)} for '${app}'`, log)
    : () => {}
  let forwarding: Forwarding | undefined
  try {
    await probe(bind)
    // who comes early waits for the first tunnel, and a port that is taken is found before anything is sent
    if (plan && forwards?.stdio === undefined)
      forwarding = await Forwarding.open(plan, { clock: systemClock, log })
    if (plan) announceImports(plan.imports, log)
    announce(values, log, { urls, stun, bootstrap: options['dht-bootstrap'] !== undefined })
    announceEmail(values, urls, log)
    const rendezvous = await openRendezvous(urls, {
      clock: systemClock,
      random: systemRandom,
      log,
      stateDirectory: state,
      options,
      environment: process.env,
    })
    const portMapper = await portMapperFor(kinds, log)
    const nat = await natWatch(values, log, { accept })
    const search = await searchingFor(meeting, state, log)
    const context: PairingContext = {
      clock: systemClock,
      random: systemRandom,
      log,
      repository,
      host,
      app,
      rendezvous,
      stunServers: stun.length > 0 ? stun : DEFAULT_STUN_SERVERS,
      bind,
      kinds,
      ...(portMapper ? { portMapper } : {}),
      nat: nat.current,
      ...(search ? { search } : {}),
      hops,
      timeout,
    }
    const single =
      forwards?.stdio === undefined ? undefined : new OneConnection(forwards.stdio, standardStreams)
    const carrier = single ?? forwarding
    const base: DaemonSettings = {
      context,
      command,
      ...(carrier ? { carrier } : {}),
      environment: process.env,
      print: (lines: string) => void process.stdout.write(lines),
      report: (outcome) => report(outcome, log),
    }
    const peers = peer ? [peer] : undefined
    const stopReporting = forwarding ? reportOn(forwarding, log) : () => {}
    return await untilEnded(log, async (signal) => {
      try {
        // a peer of plexus 3 has no tunnel: what forwards speaks the native language alone
        const dialect = forwards
          ? undefined
          : await dialectOf(values, context, { accept, peer, directory: state })
        const settings = { ...base, ...(dialect ? { dialect } : {}) }
        if (!accept && peer) {
          const again = keep || (forwarding !== undefined && !once)
          const code = await endedWell(
            (again ? keepInviting : runInviter)(settings, peer, { signal }),
            again && forwarding !== undefined ? signal : undefined,
          )
          if (single?.failure && !signal.aborted) throw single.failure
          return code
        }
        const seenFile = join(state, 'seen')
        return await runAccepter({ ...settings, peers, onRepeat, seenFile, once }, { signal })
      } finally {
        await forwarding?.close()
        stopReporting()
        const givenBack = Promise.all([portMapper?.close(), nat.close()])
        await lastWords(rendezvous)
        await rendezvous.close()
        await givenBack
        await search?.memory?.settled()
      }
    })
  } finally {
    await forwarding?.close()
    unlock()
  }
}

/** A forwarding that goes on for ever is ended by a signal, and that is no failure. */
async function endedWell(running: Promise<number>, signal: AbortSignal | undefined): Promise<number> {
  try {
    const code = await running
    return signal?.aborted ? 0 : code
  } catch (thrown) {
    if (signal?.aborted) return 0
    throw thrown
  }
}

/** Runs until it is done or a signal asks for the end: the first one counts, and is passed on to what runs. */
async function untilEnded(log: Logger, run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) => controller.abort(new Ending(signal)))
  try {
    return await run(controller.signal)
  } catch (thrown) {
    const error = asPlexusError(thrown)
    if (isAbort(thrown)) log.info({ code: error.code }, error.message)
    throw error
  } finally {
    stopListening()
  }
}

function modeOf(values: Values): { accept: boolean; keep: boolean; once: boolean } {
  const [accept, keep, once] = [values.switch('accept'), values.switch('keep'), values.switch('once')]
  if (accept && keep)
    throw new PlexusError('BAD_FLAG', '--keep is for an inviter: an accepter goes on by itself.')
  if (keep && once) throw new PlexusError('BAD_FLAG', '--keep and --once contradict each other.')
  return { accept, keep, once }
}

function refuseOnce(once: boolean, accept: boolean, forwards: Forwards | undefined): void {
  if (!once || accept || forwards) return
  throw new PlexusError('BAD_FLAG', '--once is for an accepter: an inviter pairs once anyway.')
}

/** Whether the address is this machine's and the port free, found out before anything is sent. */
async function probe({ range, ...bind }: PairingContext['bind']): Promise<void> {
  const port = range ? range.open(bind.address) : UdpPort.open(bind)
  await port.close()
}

async function openRepository(values: Values): Promise<Repository> {
  return await Repository.open(values.path('app-repo') ?? defaultRepository())
}

async function inferred(repository: Repository, log: Logger): Promise<IdentityName> {
  const name = await ownIdentity(repository)
  log.info({}, `own identity ${formatIdentity(name)}, the only one with a private key`)
  return name
}

/** Who can write there decides who gets in, or as whom: for root that is nobody else's. */
function refuseRepository(repository: Repository, host: IdentityName): void {
  const key = repository.paths(host).privateKey
  refuseWritable(repository.path, `The repository ${repository.path}`, 'REPOSITORY_WRITABLE')
  refuseWritable(dirname(key), `The folder ${dirname(key)}`, 'REPOSITORY_WRITABLE')
}

interface Contacts {
  readonly urls: readonly string[]
  readonly stun: readonly string[]
  /** Whether nodes of the DHT are named. */
  readonly bootstrap: boolean
}

/** Says what a person may not expect of the flags: public servers that nobody named, flags without effect, secrets. */
function announce(values: Values, log: Logger, { urls, stun, bootstrap }: Contacts): void {
  if (stun.length === 0) {
    log.info({}, `public STUN servers ${DEFAULT_STUN_SERVERS.join(', ')}, unless --stun-server names others`)
  }
  if (urls.includes('dht:') && !bootstrap) {
    log.info(
      {},
      `public HyperDHT network by ${PUBLIC_BOOTSTRAP.join(', ')}, unless --dht-bootstrap names others`,
    )
  }
  const ignored = ['dht-port', 'dht-network'].flatMap((name) => values.label(name) ?? [])
  if (ignored.length > 0) {
    log.warn(
      {},
      `ignoring ${ignored.join(' and ')}: plexus 3 met over OpenDHT, this one meets over HyperDHT, which has no network ids and needs no port`,
    )
  }
  if (values.label('rendezvous') === '--rendezvous' && urls.some((url) => PASSWORD.test(url))) {
    log.warn(
      {},
      'every user of this machine can see the password in --rendezvous: give it in PLEXUS_OPT_RENDEZVOUS or the file of --config',
    )
  }
}
