import type { Clock, Logger, Random } from '../src/net/index.js'

/**
 * Where sealed messages are left for somebody. A rendezvous carries opaque bytes between mailboxes; it needs to
 * understand neither what they say nor who wrote them, and must not be trusted with either.
 *
 * - An `identity` mailbox belongs to an accepter and takes messages from anybody, for ever.
 * - A `session` mailbox belongs to one waiting side of one pairing and is thrown away with it. Only the two sides
 *   know its `seed`, so nobody else can find it, read it or write to it.
 */
export type Mailbox =
  | {
      readonly kind: 'identity'
      /** The application id, as in `--app-id`. */
      readonly app: string
      /** `owner/pin` of who receives. */
      readonly identity: string
      /** SHA-256 of the receiver's certificate in DER: 32 bytes. */
      readonly certificate: Uint8Array
    }
  | {
      readonly kind: 'session'
      readonly app: string
      /** `owner/pin` of who receives. */
      readonly identity: string
      /** 32 bytes that both sides of the session know, and nobody else. */
      readonly seed: Uint8Array
    }

/** What is on the outside of a sealed message. */
export interface Envelope {
  readonly to: Mailbox
  /** `owner/pin` of the sender: a return address for the likes of email; unauthenticated. */
  readonly from: string
  /** The session id: 16 bytes. Messages of one session to one mailbox replace nothing: all are delivered. */
  readonly session: Uint8Array
  /** When the message is worthless, in ms since 1970-01-01 UTC: it may be deleted from then on. */
  readonly expires: number
}

/** What a rendezvous is given by who opens it. */
export interface RendezvousContext {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** The user's directory (0700) for persistent state, such as a DHT key pair. */
  readonly stateDirectory: string
  /** Options of the user for this rendezvous by name, as in `--dht-bootstrap`: `{ 'dht-bootstrap': [...] }`. */
  readonly options: Readonly<Record<string, string | readonly string[] | undefined>>
  /** The environment of this program, for what starts a command. Without it a command gets none. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/** The outside of a mail that another program wrote. */
export interface LetterHead {
  /** Its lines From, To and Subject as they stand, the octets read as UTF-8. Anybody may write anything there. */
  readonly header: string
  /** When the mail server took it, by the server's clock: ms since 1970-01-01 UTC. */
  readonly arrived: number
}

export interface Letter extends LetterHead {
  /** What follows the header, as it stands. */
  readonly body: Uint8Array
  /** The whole mail, as it stands, with every header: what reads a mail that was changed on its way. */
  readonly source?: Uint8Array
  /** True if it lay there already when `receive` looked for the first time. */
  readonly lay: boolean
}

/**
 * Mails as they stand, for peers that know no other rendezvous than email and nothing of mailboxes such as those above:
 * what a mail is and whom it is for says its header.
 */
export interface Letters {
  /**
   * Hands in a whole mail, without a change.
   * @param letter `from` and `to`: the addresses for the mail server
   * @param options `ours`: as below, of a copy that the server keeps; without it copies are left there
   * @throws what the `post` of the rendezvous throws
   */
  post(
    letter: { readonly from: string; readonly to: string; readonly text: string },
    options: { signal: AbortSignal; ours?: (letter: Letter) => Promise<boolean> },
  ): Promise<void>
  /**
   * The mails that are wanted, as they come, those of the last hours first. No other mail is opened, marked or moved.
   * Ends only when the signal aborts, by ending. May give a mail twice.
   * @param options `urgent`: somebody waits for an answer, rather than for anybody at any time; `ours`: whether a mail that
   *   was opened is what its outside says; one that is not stays where it is and is not given. Each that is given is removed
   */
  receive(
    wanted: (head: LetterHead) => Promise<boolean>,
    options: {
      signal: AbortSignal
      urgent?: boolean
      ours?: (letter: Letter) => Promise<boolean>
    },
  ): AsyncIterable<Letter>
  /** Resolves once all that lay there was looked at by everybody who receives. @throws why that cannot be */
  ready(options: { signal: AbortSignal }): Promise<void>
}

export interface Rendezvous {
  /** The URL as the user gave it, without secrets, for the log. */
  readonly name: string
  /**
   * Typical time from `post` to `receive`, in ms, as far as is known now; it may change. What waits for an answer
   * adds a multiple of it to its own time. Of several side by side it is that of the slowest.
   */
  readonly latency: number
  /**
   * The same for an answer to the message that was received last, where that may go another way than others: of several side
   * by side, the latency of the one that carried it. Without it `latency`.
   */
  readonly returning?: number
  /** True if all that it sends goes over UDP: where that is blocked, it cannot work either. Optional. */
  readonly udp?: boolean
  /**
   * Leaves a sealed message (a few kB at most) in a mailbox. Resolves once it can be fetched from there.
   * Posting the same bytes twice is harmless. A rendezvous may go on calling the receiver's attention to the message
   * in the background until the signal aborts: abort it once the answer is there, or the message is worthless.
   * @throws PlexusError RENDEZVOUS_UNREACHABLE when it cannot be done now; RENDEZVOUS_FOREIGN when it never can;
   *   PEER_SILENT when the receiver has to be there, and was not when the signal aborted with a timeout; else the
   *   signal's reason
   */
  post(envelope: Envelope, sealed: Uint8Array, options: { signal: AbortSignal }): Promise<void>
  /**
   * The messages for a mailbox, as they come, those that lie there already first. Ends only when the signal aborts
   * (by ending, not by throwing); survives every loss of connection by itself. May deliver a message twice and in
   * any order. Only one `receive` at a time for a mailbox. It begins with the call, not with the first `next()`.
   */
  receive(mailbox: Mailbox, options: { signal: AbortSignal }): AsyncIterable<Uint8Array>
  /** Resolves once messages can arrive at what `receive` was called for: when an accepter is reachable. Optional. */
  ready?(options: { signal: AbortSignal }): Promise<void>
  /**
   * Nobody receives this mailbox: what lies there or still comes may be removed. For a rendezvous whose messages lie where
   * people see them. Optional.
   */
  spent?(mailbox: Mailbox): void
  /** Of a rendezvous that is made of mail. Optional. */
  readonly letters?: Letters | undefined
  /** Lets go of every socket, timer and file. `receive` ends. */
  close(): Promise<void>
}

/** Makes a rendezvous from its URL. What your own module exports as `default` or as `open`. */
export type OpenRendezvous = (url: URL, context: RendezvousContext) => Promise<Rendezvous> | Rendezvous
