import { codeOf } from './system-code.js'
import { systemLimit } from './system-limit.js'

export { codeOf, codeWord } from './system-code.js'
export { type SystemLimit, systemLimit } from './system-limit.js'

/**
 * One error class for the whole program, with a code from a closed union.
 *
 * A failure names its cause in one sentence (`message`) and says what to do in another (`advice`). The kind of
 * a failure is what a person, or a script, decides by: it fixes the exit code.
 */

/**
 * - `usage`: a mistake in a flag, a file or an identity; exit 2; trying again will not help.
 * - `impossible`: no way exists between these two networks; exit 1.
 * - `later`: nobody answered, or somebody was busy; trying again may help; exit 1.
 * - `hostile`: what came from the network was not what it claimed to be; it is dropped and logged; exit 1.
 * - `internal`: this program is at fault; exit 1.
 */
export type ErrorKind = 'usage' | 'impossible' | 'later' | 'hostile' | 'internal'

interface ErrorEntry {
  readonly kind: ErrorKind
  /** What to do about it, when the place that throws has nothing better to say. */
  readonly advice: string
}

const entry = (kind: ErrorKind, advice: string): ErrorEntry => ({ kind, advice })

/** Every code that this program can end with, its kind and its default advice. */
export const ERROR_CODES = {
  BAD_FLAG: entry('usage', 'See plexus --help for what the flag expects.'),
  BAD_CONFIG: entry(
    'usage',
    'Correct the file; plexus --help names the flags, and each is a line name=value.',
  ),
  BAD_OPTION: entry('usage', 'See docs/library.md for what the option expects.'),
  BAD_ENDPOINT: entry('usage', 'Write host:port, with an IPv6 address in brackets.'),
  BAD_EXEC_ARGS: entry(
    'usage',
    'Quote --exec-args as in a shell; operators such as | and > are not available.',
  ),
  BAD_RENDEZVOUS: entry(
    'usage',
    'Use dht:, email:, dir:/path, exec:command, the name of a package, or ./path of a module.',
  ),
  DIALECT: entry('usage', 'Use an identity with an RSA key for a plexus 3.x peer.'),
  ADDRESS_IN_USE: entry(
    'usage',
    'Choose another port with --stun-client, --listen or --gateway, or stop the program that holds this one.',
  ),
  ADDRESS_UNAVAILABLE: entry(
    'usage',
    'Name an address of this machine in --stun-client, --listen or --gateway.',
  ),
  REPOSITORY: entry('usage', 'Give the path of the application repository in --app-repo.'),
  REPOSITORY_WRITABLE: entry(
    'usage',
    'Run chmod go-w on it: whoever can write there decides who may connect.',
  ),
  IDENTITY_NAME: entry('usage', 'An identity is owner/pin, two plain names with one slash between them.'),
  IDENTITY_EXISTS: entry('usage', 'Remove the old identity first, or choose another pin.'),
  IDENTITY_MISSING: entry('usage', 'Put its certificate at <repo>/<owner>/<pin>/cert.crt.'),
  IDENTITY_AMBIGUOUS: entry('usage', 'Write it in full, as owner/pin.'),
  NOT_CONFIRMED: entry('usage', 'Answer y if you are sure; in a script, use --fingerprint or --yes.'),
  FINGERPRINT: entry(
    'usage',
    'Compare the fingerprint with the owner of the identity, for example by telephone.',
  ),
  KEY_MISSING: entry('usage', 'Create an identity with: plexus id new <owner/pin>.'),
  KEY_READABLE: entry('usage', 'Run chmod 600 on the private key.'),
  KEY_INVALID: entry('usage', 'Use an RSA key of 2048 to 4096 bits, or an EC key on P-256 or P-384, as PEM.'),
  CERTIFICATE_INVALID: entry('usage', 'Replace the certificate with an X.509 certificate in PEM form.'),
  CERTIFICATE_REVOKED: entry(
    'usage',
    'Import the new certificate of this identity, or remove its fingerprint from the file `revoked`.',
  ),
  CERTIFICATE_UNTRUSTED: entry('usage', 'Replace the certificate, or the ca.crt that it should chain to.'),
  COMMAND_MISSING: entry('usage', 'Give --exec-command the path of a program that this user may run.'),
  COMMAND_WRITABLE: entry('usage', 'Run chmod go-w on it, or use a copy in a safer place.'),
  EXEC_PWD: entry('usage', 'Give --exec-pwd a directory that exists.'),
  EXEC_LOG: entry('usage', 'Give --exec-log a file in a directory that this user may write.'),
  ALREADY_RUNNING: entry('usage', 'Stop that one first, or give this one another --app-id or --state-dir.'),
  STATE_DIRECTORY: entry('usage', 'Give --state-dir a directory that this user may write.'),
  NATIVE_ADDON: entry(
    'usage',
    'Install plexus with npm on the machine that runs it. On Linux it needs glibc: Alpine has another C library.',
  ),

  TUNNEL_KEY: entry('usage', 'Let plexus start it, or give --key-file a file that both sides have.'),

  NO_PATH: entry('impossible', 'Set up a port mapping on either side, or use another network.'),
  UDP_BLOCKED: entry(
    'impossible',
    'Allow UDP out of this network and its answers in, or use another network.',
  ),

  PORT_MAPPING: entry('later', 'None needed: continuing without a port mapping.'),
  STUN_UNREACHABLE: entry(
    'later',
    'Check that UDP gets out of this network, or name other servers with --stun-server.',
  ),
  RENDEZVOUS_UNREACHABLE: entry(
    'later',
    'Check the network and the address of the rendezvous, then try again.',
  ),
  RENDEZVOUS_FOREIGN: entry('usage', 'Name a bootstrap node of a HyperDHT network in --dht-bootstrap.'),
  EMAIL_LOGIN: entry(
    'usage',
    'Check --email-login and the password; many providers require an app password.',
  ),
  EMAIL_CERTIFICATE: entry('usage', 'Check the host name, or name the CA of the server in --email-ca.'),
  PEER_SILENT: entry(
    'later',
    'Check that the peer runs with --accept, the same --app-id and a rendezvous in common, and that each side has the current certificate of the other.',
  ),
  PUNCH_TIMEOUT: entry(
    'later',
    "Try again. If it never works, one of the networks drops the other's packets.",
  ),
  TIMEOUT: entry('later', 'Try again, with a longer --timeout.'),
  BUSY: entry('later', 'Try again when the other pairing has ended.'),
  CLOCK: entry('later', 'Set the wrong clock, for example with NTP.'),
  REFUSED: entry('later', 'Look at the log of the peer.'),
  PEER_COMMAND: entry('later', 'Run plexus check on the peer: its command cannot be started.'),
  PEER_ABORTED: entry('later', 'Look at the log of the peer.'),
  CANCELLED: entry('later', 'Start it again.'),
  SYSTEM_LIMIT: entry(
    'later',
    'Raise the limit that the sentence names, or stop other programs; plexus check tells what there is.',
  ),
  TUNNEL_SILENT: entry('later', 'Check that the peer forwards services too, and look at its log.'),
  TUNNEL_LOST: entry('later', 'Pair again; an import does so by itself.'),
  STREAM_RESET: entry('later', 'Connect again.'),
  SERVICE_REFUSED: entry('later', 'Start the service on the other side, or correct its address there.'),
  SERVICE_UNREACHABLE: entry('later', 'Check the address of the service on the other side, and its network.'),
  SERVICE_DENIED: entry(
    'impossible',
    'Ask whoever runs the other side: its policy does not let this peer in.',
  ),
  SERVICE_UNKNOWN: entry('later', 'Use a name that the other side exports to this peer.'),

  MALFORMED: entry('hostile', 'None needed: the message was dropped.'),
  UNSEALABLE: entry('hostile', 'Check that both repositories hold the current certificates.'),
  SENDER_UNKNOWN: entry('hostile', 'Import its certificate if it should be able to connect.'),
  SIGNATURE: entry('hostile', 'Check that the repository holds the current certificate of the sender.'),
  ADDRESSEE: entry('hostile', 'None needed: the message was for somebody else.'),
  APPLICATION: entry('hostile', 'Use the same --app-id on both sides.'),
  EXPIRED: entry('hostile', 'None needed: the message came too late.'),
  REPLAYED: entry('hostile', 'None needed: the message was received before.'),

  INTERNAL: entry('internal', 'Please report it with the log at --log-level=trace.'),
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERROR_CODES

/** The one error of this program. `message` names the cause, `advice` says what to do. */
export class PlexusError extends Error {
  readonly code: ErrorCode
  readonly advice: string

  /**
   * @param code why, for a program
   * @param message why, for a person: one sentence, with its full stop
   * @param options `advice` replaces the default one of the code; `cause` is kept for the log. Where the system had no more of
   *   something, that is the cause whatever was wanted: the code is SYSTEM_LIMIT then, and the advice is about that
   */
  constructor(code: ErrorCode, message: string, options: { advice?: string; cause?: unknown } = {}) {
    const { cause } = options
    const limit = systemLimit(cause)
    super(limit ? `${message} ${limit.sentence}` : message, cause === undefined ? undefined : { cause })
    this.name = 'PlexusError'
    const told = cause instanceof PlexusError && cause.code === 'SYSTEM_LIMIT' ? cause : undefined
    this.code = limit || told ? 'SYSTEM_LIMIT' : code
    this.advice = limit?.advice ?? told?.advice ?? options.advice ?? ERROR_CODES[code].advice
  }

  get kind(): ErrorKind {
    return ERROR_CODES[this.code].kind
  }

  /** 2 for a mistake in usage or configuration, else 1. */
  get exitCode(): 1 | 2 {
    return this.kind === 'usage' ? 2 : 1
  }
}

/**
 * Makes a PlexusError of whatever was thrown; one that already is passes through. An error that has one of our codes,
 * from a module that knows no such class or another copy of it, keeps its code, and its advice.
 * @param code for everything else
 */
export function asPlexusError(thrown: unknown, code: ErrorCode = 'INTERNAL'): PlexusError {
  if (thrown instanceof PlexusError) return thrown
  const addon = addonError(thrown)
  if (addon) return addon
  const { code: own, advice } = (thrown instanceof Error ? thrown : {}) as {
    code?: unknown
    advice?: unknown
  }
  const known = typeof own === 'string' && Object.hasOwn(ERROR_CODES, own)
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new PlexusError(known ? (own as ErrorCode) : code, message.endsWith('.') ? message : `${message}.`, {
    ...(known && typeof advice === 'string' ? { advice } : {}),
    cause: thrown,
  })
}

/** What node and `require-addon` say of machine code that is not there or cannot be loaded. */
const UNLOADABLE: ReadonlySet<unknown> = new Set(['CANNOT_LOAD', 'ADDON_NOT_FOUND', 'ERR_DLOPEN_FAILED'])
const NOT_INSTALLED: ReadonlySet<unknown> = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'])
const ADDONS = /\b(udx-native|sodium-native)\b/

/** NATIVE_ADDON when a part of this program does not load that is machine code; undefined for everything else. */
function addonError(thrown: unknown): PlexusError | undefined {
  if (!(thrown instanceof Error)) return undefined
  const { code, cause, referrer } = thrown as { code?: unknown; cause?: unknown; referrer?: unknown }
  const [first = ''] = thrown.message.split('\n')
  const name = ADDONS.exec(`${String(referrer ?? '')} ${first}`)?.[1]
  if (name === undefined || !(UNLOADABLE.has(code) || NOT_INSTALLED.has(code))) return undefined
  const why = NOT_INSTALLED.has(code)
    ? 'it is not installed'
    : code === 'ADDON_NOT_FOUND'
      ? `there is none for ${process.platform} on ${process.arch}`
      : (cause instanceof Error ? cause.message : first).replace(/^\/.*\//, '')
  return new PlexusError('NATIVE_ADDON', `The native addon ${name} cannot be loaded: ${why}.`, {
    cause: thrown,
  })
}

/** True for the reason of an aborted AbortSignal, and for what node's own APIs throw on abort. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || codeOf(thrown) === 'CANCELLED')
}
