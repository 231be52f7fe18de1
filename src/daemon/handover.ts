import type { Plexus3Passage } from '../dialect/index.js'
import { PlexusError } from '../errors/index.js'
import {
  type Child,
  type Command,
  commandEnvironment,
  commandFor,
  type Language,
  type Running,
  start,
  type Wildcards,
} from '../exec/index.js'
import type { Repository, Standing } from '../identity/index.js'
import { formatEndpoint } from '../net/index.js'
import { discard, type Passage, shortSession } from '../pairing/index.js'
import type { DaemonSettings } from './settings.js'
import { runTunnel } from './tunnelling.js'

/** What the peer of a passage speaks: one that came about in the plexus-3 dialect has no keys, only 64 bits. */
function languageOf(passage: AnyPassage): Language {
  return 'keys' in passage ? 'native' : 'plexus-3'
}

/** A hole with what its sides share: keys, or with a plexus 3.x peer 64 bits. */
export type AnyPassage = Passage | Plexus3Passage

/** What a passage tells the command. */
function wildcardsOf(passage: AnyPassage, repository: Repository): Wildcards {
  const { inner, outer, faraway, host, peer, role, app, session } = passage
  const { secret, key } = 'keys' in passage ? passage.keys : { secret: passage.secret, key: undefined }
  const own = repository.paths(host)
  return {
    inner,
    outer,
    peer: faraway,
    host,
    peerId: peer,
    secret,
    key,
    paths: {
      hostCertificate: own.certificate,
      hostKey: own.privateKey,
      peerCertificate: repository.paths(peer).certificate,
    },
    role,
    app,
    session,
  }
}

/**
 * Hands a passage over to the command: closes the port, so that the command can bind it, and starts the command at
 * once, while the NAT's mapping is fresh. Without a command the passage is printed and undefined is returned.
 * With a carrier the port stays open, for the tunnel that is opened on it. If it throws, the port is closed.
 * @param standing hears by which certificate the peer of a tunnel proves itself again
 * @throws PlexusError as `start` does, BUSY if the peer may have no further tunnel, or the signal's reason
 */
export async function handOver(
  settings: DaemonSettings,
  passage: AnyPassage,
  signal?: AbortSignal,
  standing?: Standing,
): Promise<Running | undefined> {
  const { context, command, carrier, print } = settings
  if (carrier) {
    if ('keys' in passage) {
      const onproven = (fingerprint: Buffer) => standing?.proven(fingerprint)
      try {
        return runTunnel(settings, carrier, passage, { ...(signal ? { signal } : {}), onproven })
      } catch (thrown) {
        await discard(passage)
        throw thrown
      }
    }
    await discard(passage)
    throw new PlexusError(
      'DIALECT',
      'A plexus 3.x peer does not support tunnels; with such a peer use --exec-command=wormhole.',
    )
  }
  const values = wildcardsOf(passage, context.repository)
  if (command === undefined) {
    await passage.port.close()
    // whoever reads it goes on from here
    passage.portMapping?.abandon()
    print(printed(values))
    return undefined
  }
  // nobody else is given the port between its closing here and the command's bind
  const release = context.bind.range?.hold(passage.inner.port) ?? (() => {})
  try {
    const child = await startOn(settings, commandFor(command, languageOf(passage)), passage, values, signal)
    if (command.detach) passage.portMapping?.abandon()
    void child.exited.then(() => {
      release()
      void passage.portMapping?.release()
    })
    return child
  } catch (thrown) {
    release()
    await discard(passage)
    throw thrown
  }
}

async function startOn(
  { context, environment }: DaemonSettings,
  command: Command,
  passage: AnyPassage,
  values: Wildcards,
  signal: AbortSignal | undefined,
): Promise<Child> {
  const log = context.log.child({ session: shortSession(passage.session) })
  await passage.port.close()
  log.info(
    {},
    `starting ${command.file} at ${formatEndpoint(passage.inner)} towards ${formatEndpoint(passage.faraway)}`,
  )
  const { clock } = context
  return await start(command, values, { clock, log, env: environment, ...(signal ? { signal } : {}) })
}

/** The passage as `KEY=value` lines, by the names that a command finds in its environment. */
function printed(values: Wildcards): string {
  const { PLEXUS_KEY_FILE: _, ...fields } = commandEnvironment({}, values, '')
  const lines = Object.entries(fields).map(([name, value]) => `${name}=${quoted(value ?? '')}`)
  return `${lines.join('\n')}\n`
}

/** As a POSIX shell reads it back: names in a repository may hold anything but a slash. */
function quoted(value: string): string {
  return /^[\w@%+=:,./[\]-]*$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`
}
