import assert from 'node:assert/strict'
import { readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { plexus3Peer } from '../support/plexus3-peer.js'
import { OURS, Plexus3Stage, stageMissing, THEIRS } from '../support/plexus3-stage.js'
import { Program } from '../support/program.js'

const CAROL = 'carol@example.com/desk'
const [OUR_BOX, THEIR_BOX] = ['bob@example.com', 'alice@example.com']
const LINE = 'PLEXUS 3.0 127.0.0.1 40000'
/** A test is over by then whatever happens, in ms: a plexus-3 peer gives up after 60 s. */
const LIMIT = 90_000

/** What was printed of a passage. */
const secretIn = (text: string) => /^PLEXUS_SECRET=(\d+)$/m.exec(text)?.[1]

describe('with a plexus-3 peer over Postfix and Dovecot', { skip: stageMissing(), timeout: LIMIT }, () => {
  let stage: Plexus3Stage
  const ends: (() => Promise<unknown>)[] = []
  before(async () => {
    stage = await Plexus3Stage.open([CAROL])
  })
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
  })
  after(() => stage?.close())

  const accepter = async (more: readonly string[]) => {
    const program = await stage.accepter(more)
    ends.push(() => program.end())
    return program
  }
  const peer = (...given: Parameters<Plexus3Stage['peer']>) => {
    const other = stage.peer(...given)
    ends.push(() => other.close())
    return other
  }
  /** Our mailbox without native messages: one that was not needed in the end stays until it expires. */
  const ourMails = () =>
    stage.mail
      .mails(OUR_BOX)
      .filter((file) => !/^Subject: plexus [0-9a-f]{32} /m.test(readFileSync(file, 'latin1')))
  const sealed = (puzzle: number) => {
    const names = ['--repo', stage.repository, '--me', THEIRS, '--peer', OURS, '--kind', 'invite']
    return plexus3Peer(['seal', ...names, '--message', `${LINE} ${puzzle}`]).toString('latin1')
  }

  test('an accepter with --dialect=auto answers it, beside another rendezvous, and a native inviter meanwhile', async () => {
    const program = await accepter(['--dialect=auto', `--rendezvous=dir:${stage.directory}/meet`])
    const other = peer('inviter')
    const native = stage.program([`--peer-info=${OURS}`], CAROL, 'carol')
    const { secret } = await other.hears('posted').then(() => other.hears('paired'))
    const { code, stderr, stdout } = await native.ended
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^PLEXUS_KEY=/m)
    await program.said(new RegExp(`^PLEXUS_SECRET=${secret}$`, 'm'))
    await program.said(new RegExp(`^PLEXUS_SECRET=${secretIn(stdout)}$`, 'm'))
    assert.equal(program.stdout.match(/^PLEXUS_KEY=/gm)?.length, 1)
  })

  test('an accepter does so when the last datagram of the peer is lost', async () => {
    const program = await accepter(['--dialect=plexus-3'])
    const other = peer('inviter', ['--lose-last'])
    const { secret } = await other.hears('posted').then(() => other.hears('paired'))
    await program.said(/PLEXUS_SECRET=/)
    assert.equal(secretIn(program.stdout), secret)
    assert.match(program.stderr, /without a final confirmation from the peer/)
  })

  for (const [how, more] of [
    ['is answered by it', []],
    ['is answered by it, when its last datagram is lost too', ['--lose-last']],
    ['is answered by one that is done on the first valid datagram', ['--server']],
  ] as const) {
    test(`an inviter with --dialect=plexus-3 ${how}`, async () => {
      const other = peer('accepter', more)
      await other.hears('waiting')
      const inviter = stage.program(['--dialect=plexus-3', `--peer-info=${THEIRS}`])
      await other.hears('posted')
      const { secret } = await other.hears('paired')
      const { code, stdout, stderr } = await inviter.ended
      assert.equal(code, 0, stderr)
      assert.equal(secretIn(stdout), secret)
      assert.doesNotMatch(stdout, /PLEXUS_KEY/)
    })
  }

  test('nothing of all that stays in our mailbox', () => {
    assert.deepEqual(ourMails(), [])
  })

  test('what we write arrives with exactly the headers that such a peer matches on, and opens with openssl', async () => {
    const before = new Set(stage.mail.mails(THEIR_BOX))
    // what a server keeps of sent mail, and a mail of somebody else
    const copy = sealed(9)
      .replace(/^From: .*$/m, `From: server <${OUR_BOX}>`)
      .replace(/^To: .*$/m, `To: laptop <${THEIR_BOX}>`)
    for (const mail of [copy, copy.replace('plexus invite', 'a plexus')]) {
      stage.mail.append(OUR_BOX, 'Sent', mail)
    }
    const inviter = stage.program(['--dialect=plexus-3', `--peer-info=${THEIRS}`])
    await inviter.said(/invite mailed/)
    let file: string | undefined
    while (file === undefined) {
      file = stage.mail.mails(THEIR_BOX).find((each) => !before.has(each))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await inviter.end()
    assert.equal(stage.mail.mails(OUR_BOX, 'Sent').length, 1)
    const [head = '', body = ''] = readFileSync(file, 'latin1').split(/\r?\n\r?\n(.*)/s)
    const lines = head.split(/\r?\n/)
    const boundary = `----${Buffer.from(OUR_BOX).toString('hex')}`
    for (const line of [
      `From: server <${OUR_BOX}>`,
      `To: laptop <${THEIR_BOX}>`,
      'Subject: plexus invite',
      'MIME-Version: 1.0',
      `Content-Type: multipart/mixed; boundary=${boundary}`,
    ]) {
      assert.equal(lines.filter((each) => each === line).length, 1, `${line} in\n${head}`)
    }
    assert.equal(body.split(/\r?\n/)[0], `--${boundary}`)
    const names = ['--repo', stage.repository, '--me', THEIRS, '--peer', OURS, '--kind', 'invite']
    const message = plexus3Peer(['open', ...names], readFileSync(file, 'latin1')).toString()
    assert.match(message, /^PLEXUS 3\.0 127\.0\.0\.1 \d+ \d+\n$/)
  })

  test('by the date of the server an invite is too old; the same words are taken once, across a restart', async () => {
    const old = join(stage.mail.maildir(OUR_BOX), 'new', '1.old.test')
    writeFileSync(old, sealed(1), { mode: 0o666 })
    const then = Date.now() / 1000 - 11 * 60
    utimesSync(old, then, then)
    const first = await accepter(['--dialect=auto'])
    await first.said(/was dropped: An invite was not answered: it arrived 11 minutes ago.*EXPIRED/)
    const mail = sealed(2)
    stage.mail.append(OUR_BOX, 'INBOX', mail)
    await first.said(/invited by alice@example.com\/laptop in the plexus-3 dialect/)
    await first.end()
    const second = await accepter(['--dialect=auto'])
    stage.mail.append(OUR_BOX, 'INBOX', mail)
    await second.said(/was dropped: This message was received before.*REPLAYED/)
    assert.equal(second.times(/invited by/), 0)
  })

  test('mail of others is left as it is, and so is an invite that is not to be answered', async () => {
    const foreign = [
      sealed(3).replace('Subject: plexus invite', 'Subject: plexus invites'),
      sealed(3).replace('Subject: plexus invite', 'Subject: plexus accept'),
      sealed(3).replace(`From: laptop <${THEIR_BOX}>`, 'From: laptop <mallory@example.com>'),
      sealed(3).replace('To: server <', 'To: desk <'),
    ]
    for (const mail of foreign) stage.mail.append(OUR_BOX, 'INBOX', mail)
    const native = await accepter([])
    stage.mail.append(OUR_BOX, 'INBOX', sealed(4))
    await native.said(
      /ignoring a mail that claims to be a plexus 3.x invite from alice@example.com\/laptop.*--dialect=auto.*DIALECT/,
    )
    await native.end()
    assert.equal(ourMails().length, foreign.length + 1)
    const auto = await accepter(['--dialect=auto'])
    await auto.said(/invited by alice@example.com\/laptop/)
    await auto.end()
    const left = ourMails()
    assert.equal(left.length, foreign.length)
    // in a Maildir the flags stand after the comma
    for (const file of left) assert.match(file, /(:2,|\/new\/[^:]*)$/)
  })

  test('without email there is no such dialect, and a ping knows none', async () => {
    const words = stage.words().filter((word) => !word.startsWith('--rendezvous'))
    const env = { PLEXUS_OPT_EMAIL_PASSWORD: 'secret' }
    const elsewhere = new Program(
      ['--accept', '--dialect=auto', ...words, `--rendezvous=dir:${stage.directory}`],
      {
        env,
      },
    )
    const { code, stderr } = await elsewhere.ended
    assert.equal(code, 2, stderr)
    assert.match(
      stderr,
      /--dialect asks for 'auto', but there is no --rendezvous=email:.*Add --rendezvous=email:/s,
    )
    const ping = new Program(['ping', THEIRS, '--dialect=plexus-3', ...stage.words()], { env })
    assert.match((await ping.ended).stderr, /A plexus 3.x peer does not support ping.*DIALECT/)
  })
})
