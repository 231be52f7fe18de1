/**
 * Pairings over email, against a Postfix and a Dovecot of their own.
 *
 *     node dist/bench/email.js [pairings|both|full|deferred|servers [postfix|exim|opensmtpd|dovecot|cyrus|courier…]…]
 *
 * `pairings`: 20 through two port-restricted NATs, with the parts. `both`: the same beside the DHT, with either of them
 * dead. `full`: a mailbox with 50,000 mails of others against an empty one. `deferred`: Postfix answers 451 for 20 s. `servers`:
 * 10 pairings over each of Postfix, Exim and OpenSMTPD with each of Dovecot, Cyrus and Courier, on loopback.
 * Needs root, nftables, postfix and dovecot-imapd.
 */
import { spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { openRendezvous } from '../rendezvous/index.js'
import { systemClock, systemRandom } from '../src/cli/clock.js'
import { createIdentity, parseIdentity } from '../src/identity/index.js'
import { formatEndpoint, silent } from '../src/net/index.js'
import { StunServer } from '../src/stun/index.js'
import { Lab, labUnavailable, SERVER_PREFIX, type Side } from '../test/natlab/index.js'
import { type Outcome, PairingRig, type Process } from '../test/natlab/pairing-rig.js'
import {
  MAILBOX_SERVERS,
  MailChoice,
  mailChoiceMissing,
  SUBMISSION_SERVERS,
} from '../test/support/mail-choice.js'
import { MailServer, mailServerMissing } from '../test/support/mail-server.js'
import { Program } from '../test/support/program.js'
import { median } from './median.js'

const [ALICE, BOB] = ['alice@example.com', 'bob@example.com']
const [INVITER, ACCEPTER] = [`${ALICE}/laptop`, `${BOB}/server`]
const TIMES = 20
/** Pairings over each two servers of `servers`. */
const PAIRINGS = 10
/** Mails of others: a few that are copied until there are so many. */
const FOREIGN = { first: 32, least: 50_000 }
/** How long Postfix puts everything off, in ms. */
const DEFERRED = 20_000

const say = (line: string) => process.stdout.write(`${line}\n`)
const ms = (values: readonly number[]) => `${Math.round(median(values))}`
let failed = 0
const wanted = process.argv.slice(2)

/** The marks of a pairing in the logs of the two sides, in order, each with the part that it ends. */
const MARKS: readonly (readonly [part: string, side: 'inviter' | 'accepter', mark: RegExp])[] = [
  ['start-up', 'inviter', /^inviting /],
  ['STUN', 'inviter', /^public endpoint /],
  ['SMTP', 'inviter', /^invite posted/],
  ['push', 'accepter', /^invited by/],
  ['SMTP back', 'accepter', /^answer posted/],
  ['push back', 'inviter', /^\S+ answered$/],
  ['punch', 'inviter', /^punched in/],
  ['exec', 'inviter', /^the command runs/],
]

/** How long each part of a pairing took, in ms. */
function partsOf(inviter: Process, accepter: Process): number[] {
  const session = inviter.events.find((event) => event.session !== undefined)?.session
  let before = inviter.started
  return MARKS.map(([, side, mark]) => {
    const events = side === 'inviter' ? inviter.events : accepter.events
    const at = events.find((event) => event.session === session && mark.test(event.msg))?.time ?? Number.NaN
    const took = at - before
    before = at
    return took
  })
}

/** A laboratory with mail servers, and a side for each end. */
class Ground {
  readonly lab: Lab
  readonly rig: PairingRig
  readonly mail: MailServer
  readonly from: Side
  readonly to: Side

  private constructor(lab: Lab, rig: PairingRig, mail: MailServer, [from, to]: readonly [Side, Side]) {
    this.lab = lab
    this.rig = rig
    this.mail = mail
    this.from = from
    this.to = to
  }

  static async open(): Promise<Ground> {
    const lab = await Lab.open()
    const mail = await MailServer.start(
      [ALICE, BOB],
      MailServer.inside(lab.servers, lab.servers.addresses[0]),
    )
    const rig = await PairingRig.open(lab, [INVITER, ACCEPTER])
    const options = { spared: [SERVER_PREFIX] }
    const [from, to] = [
      await lab.side('a', 'port-restricted', options),
      await lab.side('b', 'port-restricted', options),
    ]
    return new Ground(lab, rig, mail, [from, to])
  }

  accepter(rendezvous: readonly string[]) {
    return this.rig.accepter(this.to, ACCEPTER, [...rendezvous, ...this.mail.flags(BOB)])
  }

  async pairings(
    name: string,
    times: number,
    rendezvous: readonly string[],
    accepter: Awaited<ReturnType<Ground['accepter']>>,
  ) {
    const outcomes: Outcome[] = []
    const took: number[][] = []
    for (let time = 0; time < times; time++) {
      const flags = [...rendezvous, ...this.mail.flags(ALICE)]
      const inviter = this.rig.inviter(this.from, INVITER, ACCEPTER, flags)
      const outcome = await this.rig.outcome(inviter, accepter)
      took.push(partsOf(inviter, accepter))
      outcomes.push(outcome)
      if (!outcome.paired) {
        failed++
        say(`${name} failed:\n${outcome.story}`)
      }
    }
    const good = outcomes.filter(({ paired }) => paired)
    const parts = MARKS.map(([part], n) => `${part} ${ms(took.map((each) => each[n] ?? Number.NaN))}`).join(
      ', ',
    )
    const slowest = Math.max(...good.map(({ both }) => both))
    say(
      `${name}: ${good.length} of ${times}, median ${ms(good.map(({ both }) => both))} ms, slowest ${slowest} ms; ${parts}`,
    )
  }

  async close(): Promise<void> {
    await this.rig.close()
    await this.mail.stop()
    await this.lab.close()
  }
}

async function pairings(): Promise<void> {
  const ground = await Ground.open()
  const accepter = await ground.accepter(['--rendezvous=email:'])
  await ground.pairings('email', TIMES, ['--rendezvous=email:'], accepter)
  await accepter.stop()
  const left = ground.mail.mails(ALICE).length + ground.mail.mails(BOB).length
  say(`mails left in both mailboxes: ${left}`)
  await ground.close()
}

async function both(): Promise<void> {
  const ground = await Ground.open()
  const names = ['--rendezvous=dht:', '--rendezvous=email:']
  for (const only of names) {
    const alone = await ground.accepter([only])
    await ground.pairings(`${only.slice(13)} alone`, TIMES / 2, [only], alone)
    await alone.stop()
  }
  const accepter = await ground.accepter(names)
  await ground.pairings('both', TIMES / 2, names, accepter)
  await ground.mail.stopPostfix()
  await ground.mail.stopDovecot()
  await ground.pairings('both, the mail servers dead', TIMES / 2, names, accepter)
  await ground.mail.startDovecot()
  await ground.mail.startPostfix()
  await accepter.said(/can be read again/)
  await Promise.all(ground.rig.nodes.map((node) => node.stop('SIGKILL')))
  await ground.pairings('both, the DHT dead', TIMES / 2, names, accepter)
  await ground.close()
}

/** Receives one message in a mailbox: how long until it can, and until a message that is posted then is there. */
async function receive(
  server: MailServer,
  user: string,
  state: string,
): Promise<{ ready: number; arrived: number }> {
  const mailbox = { kind: 'session', app: 'bench', identity: `${user}/1`, seed: systemRandom(32) } as const
  const context = (name: string) => ({
    clock: systemClock,
    random: systemRandom,
    log: silent,
    stateDirectory: state,
    options: server.options(name),
  })
  const signal = AbortSignal.timeout(120_000)
  const began = performance.now()
  const [sender, receiver] = [
    await openRendezvous(['email:'], context(ALICE)),
    await openRendezvous(['email:'], context(user)),
  ]
  try {
    const next = receiver.receive(mailbox, { signal })[Symbol.asyncIterator]().next()
    await receiver.ready?.({ signal })
    const ready = performance.now() - began
    const envelope = {
      to: mailbox,
      from: `${ALICE}/1`,
      session: systemRandom(16),
      expires: systemClock.date() + 600_000,
    }
    await sender.post(envelope, systemRandom(2000), { signal })
    await next
    return { ready, arrived: performance.now() - began - ready }
  } finally {
    await Promise.all([sender.close(), receiver.close()])
  }
}

/** What Dovecot alone takes to open a mailbox, in ms: login, SELECT, end, by openssl. */
function selectByHand(server: MailServer, user: string): number {
  const input = `a LOGIN ${user} secret\nb SELECT INBOX\nc LOGOUT\n`
  const target = `${server.host}:${server.ports.imaps}`
  const { stdout } = spawnSync('openssl', ['s_client', '-quiet', '-crlf', '-ign_eof', '-connect', target], {
    input,
    encoding: 'utf8',
  })
  return Number(/^b OK.*Select completed \(([\d.]+)/m.exec(stdout)?.[1] ?? Number.NaN) * 1000
}

async function full(): Promise<void> {
  const [empty, filled] = ['empty@example.com', 'full@example.com']
  for (const format of ['sdbox', 'maildir'] as const) {
    const server = await MailServer.start([ALICE, empty, filled], { format })
    const old = join(server.directory, 'old')
    for (const kind of ['', 'cur', 'new', 'tmp']) mkdirSync(join(old, kind), { recursive: true })
    const arrived = systemClock.date() / 1000 - 86_400
    for (let n = 0; n < FOREIGN.first; n++) {
      const text = `From: x@example.net\r\nSubject: mail ${n}\r\n\r\nhello\r\n`
      const file = join(
        old,
        'cur',
        `${1_500_000_000 + n}.M${n}P1.example,S=${text.length},W=${text.length}:2,${n % 3 ? 'S' : 'ST'}`,
      )
      writeFileSync(file, text)
      utimesSync(file, arrived, arrived)
    }
    for (const path of [old, ...readdirSync(old).map((name) => join(old, name))])
      chownSync(path, 65_534, 65_534)
    spawnSync('chown', ['-R', '65534:65534', old])
    server.doveadm('-o', 'mail_fsync=never', 'import', '-u', filled, `maildir:${old}`, '', 'ALL')
    let [count, aside] = [FOREIGN.first, 0]
    const copy = (from: string, to: string) =>
      server.doveadm('-o', 'mail_fsync=never', 'copy', '-u', filled, to, 'mailbox', from, 'ALL')
    while (count < FOREIGN.least) {
      copy('INBOX', 'Trash')
      aside += count
      copy('Trash', 'INBOX')
      count += aside
    }
    server.doveadm('expunge', '-u', filled, 'mailbox', 'Trash', 'ALL')
    server.doveadm('index', '-u', filled, 'INBOX')
    rmSync(old, { recursive: true })
    // \Recent only says that no client has looked yet, and goes with the first that does (RFC 3501, 2.3.2)
    const flags = () =>
      server
        .doveadm('fetch', '-u', filled, 'uid flags', 'mailbox', 'INBOX', 'ALL')
        .replaceAll(' \\Recent', '')
    const before = flags() // a message of ours that is not removed yet comes after all of these
    const found = {
      [empty]: [] as Awaited<ReturnType<typeof receive>>[],
      [filled]: [] as Awaited<ReturnType<typeof receive>>[],
    }
    const byHand = { [empty]: [] as number[], [filled]: [] as number[] }
    for (let time = 0; time < 11; time++) {
      for (const user of [empty, filled]) {
        byHand[user]?.push(selectByHand(server, user))
        const state = join(server.directory, `state-${user}`)
        mkdirSync(state, { recursive: true })
        found[user]?.push(await receive(server, user, state))
      }
    }
    for (const user of [empty, filled]) {
      const each = found[user] ?? []
      const all = each.map(({ ready, arrived }) => ready + arrived)
      say(
        `${format}, ${user === filled ? count : 0} mails: ready after ${ms(each.map(({ ready }) => ready))} ms, ` +
          `message after ${ms(each.map(({ arrived }) => arrived))} ms more, in all ${ms(all)} ms; SELECT by hand ${ms(byHand[user] ?? [])} ms`,
      )
    }
    say(`${format}: flags of the ${count} ${flags().startsWith(before) ? 'unchanged' : 'CHANGED'}`)
    await server.stop()
  }
}

async function deferred(): Promise<void> {
  const ground = await Ground.open()
  const accepter = await ground.accepter(['--rendezvous=email:'])
  await ground.mail.defer(true)
  const given = setTimeout(DEFERRED).then(() => ground.mail.defer(false))
  await ground.pairings(`451 for ${DEFERRED / 1000} s`, 1, ['--rendezvous=email:'], accepter)
  await given
  await ground.close()
}

/** Those that the command line names, or all. */
function namedOr<T extends string>(all: readonly T[]): readonly T[] {
  const named = all.filter((each) => wanted.includes(each))
  return named.length > 0 ? named : all
}

async function servers(): Promise<void> {
  const missing = mailChoiceMissing()
  if (missing) {
    say(`servers cannot run: ${missing}`)
    return
  }
  const choice = await MailChoice.start(['alice', 'bob'])
  const stun = await StunServer.open({ listen: { address: '127.0.0.1', port: 0 }, log: silent })
  const [endpoint] = stun.endpoints
  const directory = join(choice.base.directory, 'sides')
  const options = { key: 'ec', random: systemRandom, date: systemClock.date() } as const
  for (const mailbox of namedOr(MAILBOX_SERVERS)) {
    const name = (side: string) => `${choice.address(side, mailbox)}/${mailbox}`
    for (const side of ['alice', 'bob'])
      await createIdentity(join(directory, 'repo'), parseIdentity(name(side)), options)
    for (const submission of namedOr(SUBMISSION_SERVERS)) {
      const args = (side: string) => [
        `--app-repo=${join(directory, 'repo')}`,
        `--state-dir=${join(directory, `${side}-${submission}-${mailbox}`)}`,
        `--host-info=${name(side)}`,
        `--peer-info=${name(side === 'alice' ? 'bob' : 'alice')}`,
        `--stun-server=${endpoint ? formatEndpoint(endpoint) : ''}`,
        '--rendezvous=email:',
        ...choice.flags(side, submission, mailbox),
      ]
      const accepter = new Program(['--accept', ...args('bob')])
      await accepter.said(/ready for invites/)
      const took: number[] = []
      for (let time = 0; time < PAIRINGS; time++) {
        const began = performance.now()
        const { code, stderr } = await new Program(args('alice')).ended
        if (code === 0) took.push(performance.now() - began)
        else {
          failed++
          say(`${submission} and ${mailbox} failed:\n${stderr}`)
        }
      }
      await accepter.end()
      say(
        `${submission.padEnd(9)} ${mailbox.padEnd(7)} ${took.length} of ${PAIRINGS}, median ${ms(took)} ms, slowest ${Math.round(Math.max(...took))} ms`,
      )
    }
  }
  await stun.close()
  await choice.stop()
}

const reason = labUnavailable() ?? (mailServerMissing() || undefined)
if (reason !== undefined) {
  process.stderr.write(`cannot run: ${reason}\n`)
  process.exit(1)
}
const ALL = { pairings, both, full, deferred, servers }
for (const [name, run] of Object.entries(ALL)) if (wanted.length === 0 || wanted.includes(name)) await run()
process.exitCode = failed === 0 ? 0 : 1
