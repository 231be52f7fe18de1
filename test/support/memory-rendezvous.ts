import type { Envelope, Mailbox, Rendezvous } from '../../rendezvous/interface.js'

/** One message as it lay in a mailbox: what an eavesdropper has. */
export interface Posted {
  readonly envelope: Envelope
  readonly sealed: Uint8Array
}

/** A place inside one process where sides meet, and where a test can read and write as an attacker would. */
export class MeetingPlace {
  readonly posted: Posted[] = []
  readonly #readers = new Map<string, Set<(sealed: Uint8Array) => void>>()
  readonly #kept = new Map<string, Uint8Array[]>()

  /** A rendezvous for one side. */
  rendezvous(latency = 50): Rendezvous {
    return {
      name: 'memory:',
      latency,
      post: async (envelope, sealed) => {
        this.posted.push({ envelope, sealed })
        this.put(envelope.to, sealed)
      },
      receive: (mailbox, { signal }) => this.#receive(keyOf(mailbox), signal),
      close: async () => {},
    }
  }

  /** Leaves bytes in a mailbox, as anybody may. */
  put(mailbox: Mailbox, sealed: Uint8Array): void {
    const key = keyOf(mailbox)
    this.#kept.set(key, [...(this.#kept.get(key) ?? []), sealed])
    for (const reader of this.#readers.get(key) ?? []) reader(sealed)
  }

  /** Forgets what lies in mailboxes that nobody reads just now. */
  clear(): void {
    this.#kept.clear()
  }

  async *#receive(key: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const queue = [...(this.#kept.get(key) ?? [])]
    let wake = () => {}
    const reader = (sealed: Uint8Array) => {
      queue.push(sealed)
      wake()
    }
    const readers = this.#readers.get(key) ?? new Set()
    this.#readers.set(key, readers.add(reader))
    const onabort = () => wake()
    signal.addEventListener('abort', onabort)
    try {
      while (!signal.aborted) {
        const next = queue.shift()
        if (next) yield next
        else
          await new Promise<void>((resolve) => {
            wake = resolve
          })
      }
    } finally {
      signal.removeEventListener('abort', onabort)
      readers.delete(reader)
    }
  }
}

function keyOf(mailbox: Mailbox): string {
  const place = mailbox.kind === 'identity' ? mailbox.certificate : mailbox.seed
  return `${mailbox.kind} ${mailbox.app} ${mailbox.identity} ${Buffer.from(place).toString('hex')}`
}
