import type { Letter, LetterHead, Letters } from '../../rendezvous/interface.js'

interface Reader {
  readonly wanted: (head: LetterHead) => Promise<boolean>
  readonly ours: (letter: Letter) => Promise<boolean>
  readonly queue: Letter[]
  wake: () => void
}

/** A mailbox inside one process that all sides share, where a test can read and write as an attacker would. */
export class LetterPlace {
  /** Every mail that was handed in, whole. */
  readonly posted: string[] = []
  /** What nobody wanted. */
  readonly left: string[] = []
  readonly #date: () => number
  readonly #readers = new Set<Reader>()
  #delivering: Promise<void> = Promise.resolve()
  #wakes = new Set<() => void>()

  constructor(date: () => number) {
    this.#date = date
  }

  /** The capability of a rendezvous of one side. */
  letters(): Letters {
    return {
      post: async ({ text }) => {
        this.posted.push(text)
        for (const wake of [...this.#wakes]) wake()
        await this.put(text)
      },
      receive: (wanted, { signal, ours }) => this.#receive(wanted, signal, ours),
      ready: async () => {},
    }
  }

  /** Leaves a mail there. Resolves when who wants it has it. @param arrived ms */
  put(text: string, arrived = this.#date()): Promise<void> {
    this.#delivering = this.#delivering.then(async () => {
      const [header = '', ...rest] = text.split('\r\n\r\n')
      const [source, body] = [text, rest.join('\r\n\r\n')].map((each) => Buffer.from(each, 'latin1'))
      const letter = {
        header,
        arrived,
        body: body ?? Buffer.alloc(0),
        ...(source ? { source } : {}),
        lay: false,
      }
      let taken = false
      for (const reader of [...this.#readers]) {
        if (!(await reader.wanted({ header, arrived }))) continue
        if (!(await reader.ours(letter))) continue
        taken = true
        reader.queue.push(letter)
        reader.wake()
      }
      if (!taken) this.left.push(text)
    })
    return this.#delivering
  }

  /** Resolves with the mail of that number, counted from 0, once it was handed in. */
  async nth(index: number): Promise<string> {
    for (;;) {
      const text = this.posted[index]
      if (text !== undefined) return text
      await new Promise<void>((resolve) => {
        this.#wakes.add(resolve)
      })
    }
  }

  async *#receive(
    wanted: (head: LetterHead) => Promise<boolean>,
    signal: AbortSignal,
    ours: Reader['ours'] = async () => true,
  ): AsyncGenerator<Letter> {
    const reader: Reader = { wanted, ours, queue: [], wake: () => {} }
    this.#readers.add(reader)
    const onabort = () => reader.wake()
    signal.addEventListener('abort', onabort)
    try {
      while (!signal.aborted) {
        const next = reader.queue.shift()
        if (next) yield next
        else
          await new Promise<void>((resolve) => {
            reader.wake = resolve
          })
      }
    } finally {
      signal.removeEventListener('abort', onabort)
      this.#readers.delete(reader)
    }
  }
}
