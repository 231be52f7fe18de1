import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openRendezvous } from '../../rendezvous/index.js'
import { runAccepter, runInviter } from '../daemon/index.js'
import { asPlexusError, isAbort, PlexusError } from '../errors/index.js'
import { parseCommand, REPEAT_POLICIES } from '../exec/index.js'
import { formatIdentity, Repository } from '../identity/index.js'
import type { Logger } from '../net/index.js'
import type { PairingContext } from '../pairing/index.js'
import { DEFAULT_STUN_SERVERS } from '../stun/index.js'
import { systemClock, systemRandom } from './clock.js'
import { defaultRepository, defaultStateDirectory } from './defaults.js'
import type { Values } from './flags.js'
import { logOf } from './servers.js'
import { onEndingSignal } from './signals.js'

/** The bounds of `--timeout` in seconds, and of `--punch-hops`. */
const LONGEST_TIMEOUT = 24 * 3600
const MOST_HOPS = 255

/** `plexus [--accept] …`: everything that can be wrong with the flags is found before anything is sent. */
export async function pairCommand(values: Values): Promise<number> {
  const accept = values.switch('accept')
  const hostName = values.identity('host-info')
  const peer = values.identity('peer-info')
  const app = values.text('app-id') ?? 'plexus'
  const urls = values.many('rendezvous')
  const bind = values.address('stun-client')
  const hops = values.whole('punch-hops', 1, MOST_HOPS, 7)
  const timeout = values.whole('timeout', 1, LONGEST_TIMEOUT, 60) * 1000
  const stun = values.hosts('stun-server', 3478)
  const bootstrap = values.hosts('dht-bootstrap')
  const onRepeat = values.choice('on-repeat', REPEAT_POLICIES, 'replace')
  const log = logOf(values)
  const command = commandOf(values, log)
  if (hostName === undefined) throw new PlexusError('BAD_FLAG', '--host-info is missing.')
  if (!accept && peer === undefined) {
    throw new PlexusError(
      'BAD_FLAG',
      '--peer-info is missing: an inviter needs a peer, only --accept does not.',
    )
  }
  const repository = await Repository.open(values.path('app-repo') ?? defaultRepository())
  const host = await repository.host(hostName)
  if (peer) await repository.certificate(peer, { host: hostName, date: systemClock.date() })
  const state = await stateDirectory(values, `${app}\0${formatIdentity(hostName)}`)
  const rendezvous = await openRendezvous(urls.length > 0 ? urls : ['dht:'], {
    clock: systemClock,
    random: systemRandom,
    log,
    stateDirectory: state,
    options: bootstrap.length > 0 ? { 'dht-bootstrap': bootstrap } : {},
  })
  const context: PairingContext = {
    clock: systemClock,
    random: systemRandom,
    log,
    repository,
    host,
    app,
    rendezvous,
    stunServers: stun.length > 0 ? stun : DEFAULT_STUN_SERVERS,
    bind: bind ?? {},
    hops,
    timeout,
  }
  const settings = {
    context,
    command,
    environment: process.env,
    print: (lines: string) => void process.stdout.write(lines),
  }
  const controller = new AbortController()
  const stopListening = onEndingSignal((signal) =>
    controller.abort(new PlexusError('CANCELLED', `Stopped by ${signal}.`)),
  )
  try {
    const { signal } = controller
    if (!accept && peer) return await runInviter(settings, peer, { signal })
    const peers = peer ? [peer] : undefined
    await runAccepter({ ...settings, peers, onRepeat, seenFile: join(state, 'seen') }, { signal })
    return 0
  } catch (thrown) {
    const error = asPlexusError(thrown)
    if (isAbort(thrown)) log.info({ code: error.code }, error.message)
    throw error
  } finally {
    stopListening()
    await rendezvous.close()
  }
}

function commandOf(values: Values, log: Logger) {
  const file = values.path('exec-command')
  const args = values.text('exec-args')
  const pwd = values.path('exec-pwd')
  const output = values.path('exec-log')
  if (file === undefined) {
    for (const name of ['exec-args', 'exec-pwd', 'exec-log']) {
      if (values.text(name) !== undefined)
        throw new PlexusError('BAD_FLAG', `--${name} is given without --exec-command.`)
    }
    return undefined
  }
  const spec = {
    command: file,
    ...(args === undefined ? {} : { args }),
    ...(pwd === undefined ? {} : { pwd }),
    ...(output === undefined ? {} : { log: output }),
    detach: values.switch('exec-detach'),
  }
  return parseCommand(spec, { env: process.env, log })
}

/** Each identity and application has a folder of its own in the state directory. */
async function stateDirectory(values: Values, owner: string): Promise<string> {
  const base = values.path('state-dir') ?? defaultStateDirectory()
  const directory = join(base, createHash('sha256').update(owner).digest('hex').slice(0, 16))
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    return directory
  } catch (cause) {
    throw new PlexusError('STATE_DIRECTORY', `The state directory '${base}' cannot be made.`, { cause })
  }
}
