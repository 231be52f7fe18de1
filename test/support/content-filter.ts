import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import SMTPConnection from 'nodemailer/lib/smtp-connection/index.js'

/**
 * What Postfix hands every mail to as its `content_filter`, and gets it back from, changed: Postfix's own way of after-queue
 * filters (FILTER_README), in this process.
 */
export class ContentFilter {
  /** What is made of a mail, line ends and all. */
  change: (mail: string) => string = (mail) => mail
  readonly #server: Server
  readonly #back: number

  private constructor(back: number) {
    this.#back = back
    this.#server = createServer((socket) => {
      let rest = ''
      let from = ''
      let to = ''
      let mail: string | undefined
      socket.on('error', () => {})
      socket.write('220 filter ESMTP\r\n')
      socket.on('data', (data) => {
        rest += data.toString('latin1')
        for (;;) {
          const end = mail === undefined ? rest.indexOf('\r\n') : rest.indexOf('\r\n.\r\n')
          if (end < 0) return
          if (mail !== undefined) {
            const text = rest.slice(0, end + 2).replace(/^\.\./gm, '.')
            rest = rest.slice(end + 5)
            mail = undefined
            this.#handBack(from, to, this.change(text)).then(
              () => socket.write('250 2.0.0 filtered\r\n'),
              (thrown: unknown) => socket.write(`451 4.3.0 ${String(thrown).split('\n')[0]}\r\n`),
            )
            continue
          }
          const line = rest.slice(0, end)
          rest = rest.slice(end + 2)
          const address = /<([^>]*)>/.exec(line)?.[1] ?? ''
          if (/^MAIL/i.test(line)) from = address
          if (/^RCPT/i.test(line)) to = address
          if (/^DATA/i.test(line)) mail = ''
          socket.write(mail === undefined ? '250 2.0.0 fine\r\n' : '354 go on\r\n')
          if (/^QUIT/i.test(line)) socket.end()
        }
      })
    })
  }

  /** @param back the port of the Postfix that takes what was filtered */
  static async start(port: number, back: number): Promise<ContentFilter> {
    const filter = new ContentFilter(back)
    await once(filter.#server.listen(port, '127.0.0.1'), 'listening')
    return filter
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
  }

  #handBack(from: string, to: string, text: string): Promise<void> {
    const connection = new SMTPConnection({
      host: '127.0.0.1',
      port: this.#back,
      ignoreTLS: true,
      logger: false,
    })
    return new Promise((resolve, reject) => {
      connection.on('error', reject)
      connection.connect(() =>
        connection.send({ from, to }, Buffer.from(text, 'latin1'), (error) => {
          connection.quit()
          if (error) reject(error)
          else resolve()
        }),
      )
    })
  }
}
