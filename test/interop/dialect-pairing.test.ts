import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { OURS, Plexus3Stage, stageMissing, THEIRS } from '../support/plexus3-stage.js'

/** What the passage says of the secret, as `PLEXUS_SECRET=…`. */
const secretIn = (text: string) => /^PLEXUS_SECRET=(\d+)$/m.exec(text)?.[1]

describe('with a plexus-3 peer over Postfix and Dovecot', { skip: stageMissing() }, () => {
  let stage: Plexus3Stage
  before(async () => {
    stage = await Plexus3Stage.open()
  })
  after(() => stage?.close())

  test('an accepter with --dialect=auto answers its invite', async () => {
    const accepter = await stage.accepter(['--dialect=auto'])
    const peer = stage.peer('inviter')
    try {
      await peer.hears('posted')
      const { secret } = await peer.hears('paired')
      await accepter.said(/PLEXUS_SECRET=/)
      assert.equal(secretIn(accepter.stdout), secret)
      assert.doesNotMatch(accepter.stdout, /PLEXUS_KEY/)
    } finally {
      await peer.close()
      const { stderr } = await accepter.end()
      process.stdout.write(stderr)
    }
    assert.deepEqual(stage.mail.mails('bob@example.com'), [])
  })

  test('an inviter with --dialect=plexus-3 is answered by it', async () => {
    const peer = stage.peer('accepter')
    try {
      await peer.hears('waiting')
      const inviter = stage.program(['--dialect=plexus-3', `--peer-info=${THEIRS}`])
      await peer.hears('posted')
      const { secret } = await peer.hears('paired')
      const { code, stdout, stderr } = await inviter.ended
      process.stdout.write(stderr)
      assert.equal(code, 0, stderr)
      assert.equal(secretIn(stdout), secret)
    } finally {
      await peer.close()
    }
    assert.deepEqual(stage.mail.mails('bob@example.com'), [])
    void OURS
  })
})
