/**
 * Pairings with a plexus-3 peer over real mail servers, in both roles: how many of so many come about, and how long they
 * take. The peer is `test/interop/plexus3_peer.py`, which shares no code with the project.
 *
 *     node dist/bench/plexus3.js [times=10]
 *
 * Needs root, Postfix, Dovecot, Python and openssl. Measured is the time from the start of the inviter's process until both
 * sides have their passage.
 */
import { Plexus3Stage, stageMissing, THEIRS } from '../test/support/plexus3-stage.js'
import { median } from './median.js'

/** Our role, the peer's options, and what they mean. */
const CASES = [
  ['accepter', [], 'the peer invites'],
  ['accepter', ['--lose-last'], 'the peer invites, and its last datagram is lost'],
  ['inviter', [], 'the peer accepts'],
  ['inviter', ['--lose-last'], 'the peer accepts, and its first flag 1 is lost'],
  ['inviter', ['--server'], 'the peer accepts, and is done on the first valid datagram'],
] as const

const missing = stageMissing()
if (missing) throw new Error(missing)
const [count = '10'] = process.argv.slice(2)
const stage = await Plexus3Stage.open()

/** One pairing with our accepter; ms, or nothing if it failed. */
async function asAccepter(options: readonly string[]): Promise<number | undefined> {
  const accepter = await stage.accepter(['--dialect=auto'])
  const began = performance.now()
  const peer = stage.peer('inviter', options)
  try {
    await peer.hears('posted')
    const { secret } = await peer.hears('paired')
    await accepter.said(new RegExp(`^PLEXUS_SECRET=${secret}$`, 'm'))
    return performance.now() - began
  } catch (thrown) {
    console.error(thrown, accepter.stderr)
    return undefined
  } finally {
    await peer.close()
    await accepter.end()
  }
}

/** One pairing with our inviter. */
async function asInviter(options: readonly string[]): Promise<number | undefined> {
  const peer = stage.peer('accepter', options)
  await peer.hears('waiting')
  const began = performance.now()
  const inviter = stage.program(['--dialect=plexus-3', `--peer-info=${THEIRS}`])
  try {
    await peer.hears('posted')
    const { secret } = await peer.hears('paired')
    await inviter.said(new RegExp(`^PLEXUS_SECRET=${secret}$`, 'm'))
    return performance.now() - began
  } catch (thrown) {
    console.error(thrown, inviter.stderr)
    return undefined
  } finally {
    await peer.close()
    await inviter.ended
  }
}

try {
  for (const [role, options, what] of CASES) {
    const times: number[] = []
    for (let run = 0; run < Number(count); run++) {
      const took = await (role === 'accepter' ? asAccepter(options) : asInviter(options))
      if (took !== undefined) times.push(took)
    }
    console.log(
      `${what}: ${times.length} of ${count}, median ${Math.round(median(times))} ms, slowest ${Math.round(Math.max(...times))} ms`,
    )
  }
} finally {
  await stage.close()
}
