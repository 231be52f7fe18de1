import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { createServer, type Server } from 'node:tls'

/** What a server says in place of what is usual: `%` is the tag. Nothing at all for `null`, the connection is cut for `cut`. */
export type Answer = string | null | 'cut'
export type Answers = Readonly<Record<string, Answer | readonly Answer[]>>

/** A certificate for localhost, and the authority that it is of. */
export interface Certified {
  readonly ca: string
  readonly cert: Buffer
  readonly key: Buffer
}

export function certify(directory: string): Certified {
  const file = (name: string) => join(directory, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' })
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-days', '2']
  writeFileSync(file('san'), 'subjectAltName=DNS:localhost\n')
  openssl('req', '-x509', ...fresh, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=odd authority')
  openssl('req', ...fresh.slice(0, -2), '-keyout', 'key', '-out', 'csr', '-subj', '/CN=localhost')
  const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san']
  openssl('x509', '-req', '-in', 'csr', '-out', 'cert', ...signing)
  return { ca: file('ca.pem'), cert: readFileSync(file('cert')), key: readFileSync(file('key')) }
}

/** A server that speaks lines over TLS, and answers some of them as it was told. */
abstract class OddServer {
  /** What was said to it. */
  readonly heard: string[] = []
  readonly answers: Answers
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #times = new Map<string, number>()

  constructor(certified: Certified, answers: Answers = {}) {
    this.answers = answers
    this.#server = createServer(certified, (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
      let rest = ''
      const talk = this.talk(
        (text) => socket.write(text),
        () => socket.destroy(),
      )
      socket.on('data', (data) => {
        rest += data.toString('latin1')
        for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
          const line = rest.slice(0, end)
          rest = rest.slice(end + 2)
          talk(line)
        }
      })
    })
  }

  protected abstract talk(say: (text: string) => void, cut: () => void): (line: string) => void

  /** What was told to be said at this point, if anything: of several the next, and then what is usual. */
  protected odd(key: string): Answer | undefined {
    const answer = this.answers[key]
    if (!Array.isArray(answer)) return answer as Answer | undefined
    const time = this.#times.get(key) ?? 0
    this.#times.set(key, time + 1)
    return answer[time]
  }

  /** How often something was said to it that begins so. */
  times(command: RegExp): number {
    return this.heard.filter((line) => command.test(line)).length
  }

  async listen(): Promise<this> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

/** Keys: `greeting`, EHLO, AUTH, `MAIL FROM`, `RCPT TO`, DATA, and `.` for the end of the mail. */
export class OddSmtp extends OddServer {
  /** The mails that it took. */
  readonly taken: string[] = []

  protected talk(say: (text: string) => void, cut: () => void): (line: string) => void {
    let mail: string[] | undefined
    const answer = (key: string, usual: string) => {
      const odd = this.odd(key)
      if (odd === 'cut') cut()
      else if (odd !== null) say(`${odd ?? usual}\r\n`)
      return odd === undefined
    }
    answer('greeting', '220 odd.example ESMTP')
    return (line) => {
      if (mail) {
        if (line !== '.') mail.push(line)
        else {
          this.heard.push('.')
          const text = mail.join('\r\n')
          mail = undefined
          if (answer('.', '250 2.0.0 taken')) this.taken.push(text)
        }
        return
      }
      this.heard.push(line)
      const key = /^(?:MAIL FROM|RCPT TO|[A-Z]+)/i.exec(line)?.[0].toUpperCase() ?? ''
      if (key === 'QUIT') cut()
      else if (key === 'DATA') {
        if (answer('DATA', '354 go on')) mail = []
      } else
        answer(
          key,
          key === 'EHLO'
            ? '250-odd.example\r\n250 AUTH PLAIN'
            : key === 'AUTH'
              ? '235 2.7.0 welcome'
              : '250 2.0.0 fine',
        )
    }
  }
}

/** A mail that lies in a folder. */
export interface Lying {
  readonly uid: number
  readonly text: string
}

/**
 * Keys: `greeting`, the name of a command, or that with the folder, as in `SELECT Junk`. What is usual is a server with
 * the folders INBOX and Junk, in which mails can be found by their UIDs.
 */
export class OddImap extends OddServer {
  readonly folders = new Map<string, Lying[]>([
    ['INBOX', []],
    ['Junk', []],
  ])
  /** Numbers above this are answered with BAD. */
  highest = Number.POSITIVE_INFINITY
  /** Whether it takes IDLE and tells nothing in it. */
  mute = false

  readonly #pushes = new Set<() => void>()

  /** A mail comes: who idles is told. */
  put(folder: string, mail: Lying): void {
    this.folders.set(folder, [...(this.folders.get(folder) ?? []), mail])
    for (const push of this.#pushes) push()
  }

  protected talk(say: (text: string) => void, cut: () => void): (line: string) => void {
    let selected = 'INBOX'
    let idling = ''
    let told = 0
    /** How many mails the folder has, if that is news. */
    const news = () => {
      const count = this.folders.get(selected)?.length ?? 0
      const grown = count > told
      told = count
      return grown ? `* ${count} EXISTS\r\n` : ''
    }
    this.#pushes.add(() => {
      if (idling !== '' && !this.mute) say(news())
    })
    const greeting = this.odd('greeting')
    if (greeting === 'cut') cut()
    else if (greeting !== null) say(`${greeting ?? '* OK ready'}\r\n`)
    return (line) => {
      if (idling !== '') {
        say(`${this.mute ? '' : news()}${idling} OK idled\r\n`)
        idling = ''
        if (line === 'DONE') return
      }
      this.heard.push(line)
      const [tag = '', ...words] = line.split(' ')
      const command = (words[0] === 'UID' ? `UID ${words[1]}` : (words[0] ?? '')).toUpperCase()
      const folder = (words.find((word) => this.folders.has(word.replaceAll('"', ''))) ?? '').replaceAll(
        '"',
        '',
      )
      const odd =
        folder && this.answers[`${command} ${folder}`] !== undefined
          ? this.odd(`${command} ${folder}`)
          : this.odd(command)
      if (odd === 'cut') return cut()
      if (odd === null) return
      const ok = (untagged = '') => say(`${untagged}${/NOOP/i.test(command) ? news() : ''}${tag} OK done\r\n`)
      if (typeof odd === 'string') return say(`${odd.replace(/^%|(?<=\n)%/g, tag)}\r\n`)
      if ([...line.matchAll(/\d{10,}/g)].some(([digits]) => Number(digits) > this.highest))
        return say(`${tag} BAD number too large\r\n`)
      const mails = this.folders.get(selected) ?? []
      switch (command) {
        case 'CAPABILITY':
          return ok('* CAPABILITY IMAP4rev1 NAMESPACE UIDPLUS IDLE SPECIAL-USE\r\n')
        case 'NAMESPACE':
          return ok('* NAMESPACE (("" "/")) NIL NIL\r\n')
        case 'LIST': {
          const flags = (name: string) => (name === 'Junk' ? '\\Junk' : '')
          const names = [...this.folders.keys()].filter((name) => /\*|%/.test(line) || name === folder)
          return ok(names.map((name) => `* LIST (${flags(name)}) "/" ${name}\r\n`).join(''))
        }
        case 'STATUS':
          return ok(
            `* STATUS ${folder} (MESSAGES 1 UIDNEXT ${systemUid(this.folders.get(folder) ?? [])} UIDVALIDITY 1)\r\n`,
          )
        case 'SELECT':
          if (folder === '') return say(`${tag} NO Mailbox does not exist\r\n`)
          selected = folder
          told = this.folders.get(folder)?.length ?? 0
          return ok(
            `* ${this.folders.get(folder)?.length} EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT ${systemUid(this.folders.get(folder) ?? [])}] x\r\n`,
          )
        case 'FETCH':
        case 'UID FETCH':
          return ok(
            mails
              .map((mail, at) =>
                inRange(line, command === 'UID FETCH' ? mail.uid : at + 1, mail === mails.at(-1))
                  ? row(mail, at + 1, line)
                  : '',
              )
              .join(''),
          )
        case 'UID EXPUNGE':
          this.folders.set(
            selected,
            mails.filter(({ uid }) => !inRange(line, uid, false)),
          )
          return ok()
        case 'IDLE':
          idling = tag
          return say('+ idling\r\n')
        case 'LOGOUT':
          say('* BYE\r\n')
          return ok()
        default:
          return ok()
      }
    }
  }
}

const systemUid = (mails: readonly Lying[]) => Math.max(0, ...mails.map(({ uid }) => uid)) + 1

function inRange(line: string, number: number, last: boolean): boolean {
  const set = /(?:FETCH|EXPUNGE) (\S+)/i.exec(line)?.[1] ?? ''
  return set.split(',').some((range) => {
    const [from = '', to = from] = range.split(':')
    const high = to === '*' ? Number.POSITIVE_INFINITY : Number(to)
    return (number >= Number(from) && number <= high) || (to === '*' && last)
  })
}

function row({ uid, text }: Lying, at: number, line: string): string {
  const header = text.slice(0, text.indexOf('\r\n\r\n'))
  const parts = [`UID ${uid}`]
  const literal = (name: string, value: string) => parts.push(`${name} {${value.length}}\r\n${value}`)
  if (/INTERNALDATE/.test(line))
    parts.push(
      `INTERNALDATE "${new Date().toUTCString().replace(/^\w+, (\d+) (\w+) (\d+) (\S+) GMT$/, '$1-$2-$3 $4 +0000')}"`,
    )
  if (/RFC822\.SIZE/.test(line)) parts.push(`RFC822.SIZE ${text.length}`)
  if (/HEADER\.FIELDS/.test(line))
    literal(
      'BODY[HEADER.FIELDS (SUBJECT)]',
      `${header
        .split('\r\n')
        .filter((each) => /^subject:/i.test(each))
        .join('\r\n')}\r\n\r\n`,
    )
  if (/BODY(?:\.PEEK)?\[\]/.test(line)) literal(/<0/.test(line) ? 'BODY[]<0>' : 'BODY[]', text)
  return `* ${at} FETCH (${parts.join(' ')})\r\n`
}
