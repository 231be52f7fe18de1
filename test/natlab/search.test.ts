import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { skip } from './fixture.js'
import { Lab, type Side, type SideOptions, type SideType } from './index.js'
import { type Outcome, PairingRig, type Process } from './pairing-rig.js'

/** What cannot connect without guessing a port; `bench/search.ts` runs each 50 times. */
const GUESSES: readonly (readonly [SideType, SideType])[] = [
  ['port-restricted', 'symmetric'],
  ['symmetric', 'port-restricted'],
  ['port-restricted', 'symmetric-sequential'],
  ['symmetric-sequential', 'port-restricted'],
  ['symmetric-sequential', 'symmetric-sequential'],
]

/** Sockets of a plexus process that waits: DHT, and room for what else a machine has. */
const FEW_SOCKETS = 12

/** How long a message takes through the slow mailbox, in s: longer than the mappings of that test live. */
const DELAY = 8
const MAPPING_TIMEOUT = 5

/** A mailbox in a directory. */
const SLOW_MAILBOX = `#!/bin/sh
cd "$SHELF" || exit 75
case $1 in
post)
  draft=.$PLEXUS_MESSAGE.$$
  cat >"$draft" && sleep ${DELAY} && mv "$draft" "$PLEXUS_MAILBOX.$PLEXUS_MESSAGE" ;;
receive)
  cat "$PLEXUS_MAILBOX".* 2>/dev/null; exit 0 ;;
esac
`

// mostly they wait
describe('guessing ports, and saying why it cannot work', { skip, concurrency: 4 }, () => {
  let lab: Lab
  let rig: PairingRig
  let count = 0

  before(async () => {
    lab = await Lab.open()
    rig = await PairingRig.open(lab, [])
  })
  after(async () => {
    await rig?.close()
    await lab?.close()
  })

  interface Stage {
    readonly from: Side
    readonly to: Side
    readonly inviter: string
    readonly accepter: string
  }

  /** Two sides, and an identity for each: tests run side by side. */
  async function stage(from: SideType, to: SideType, options: SideOptions = {}): Promise<Stage> {
    const n = ++count
    const [inviter, accepter] = [`a${n}@px.test/laptop`, `b${n}@px.test/server`]
    for (const name of [inviter, accepter]) await rig.identity(name)
    return {
      from: await lab.side(`a${n}`, from, options),
      to: await lab.side(`b${n}`, to, options),
      inviter,
      accepter,
    }
  }

  async function paired(
    { from, to, inviter, accepter }: Stage,
    more: readonly string[] = [],
  ): Promise<{ waiting: Process; outcome: Outcome }> {
    const waiting = await rig.accepter(to, accepter, more)
    return { waiting, outcome: await rig.pair(from, inviter, accepter, waiting, more) }
  }

  for (const [inviting, accepting] of GUESSES) {
    test(`${inviting} invites ${accepting}: a path is found, and nothing is left open`, async () => {
      const place = await stage(inviting, accepting)
      const { waiting, outcome } = await paired(place)
      assert.ok(outcome.paired, outcome.story)
      assert.match(outcome.story, /--no-search prevents this/)
      const { stdout } = await place.to.exec('cat', ['/proc/net/udp'])
      assert.ok(stdout.split('\n').length < FEW_SOCKETS, stdout)
      await waiting.stop()
    })
  }

  test('random ports on both sides: both say so, and what would do', async () => {
    const { waiting, outcome } = await paired(await stage('symmetric', 'symmetric'))
    assert.equal(outcome.code, 1)
    assert.match(
      outcome.story,
      /symmetric NAT with random ports on both sides\. Set up a port mapping on either side\. \[NO_PATH\]/,
    )
    const told = await waiting.said(/the pairing failed: .*symmetric NAT with random ports on both sides/)
    assert.equal(told.code, 'NO_PATH')
    await waiting.stop()
  })

  test('with --no-search nothing is searched for, and both say that this is why', async () => {
    const place = await stage('port-restricted', 'symmetric')
    const waiting = await rig.accepter(place.to, place.accepter)
    const more = ['--no-search', '--timeout=5']
    const outcome = await rig.pair(place.from, place.inviter, place.accepter, waiting, more)
    assert.equal(outcome.code, 1)
    assert.match(
      outcome.story,
      /symmetric NAT at the peer, and this side does not search ports\. .*--no-search/,
    )
    assert.doesNotMatch(outcome.story, /searching/)
    await waiting.stop()
  })

  test('mappings that live shorter than a message takes: the pairing waits it out', async () => {
    const shelf = join(rig.directory, 'shelf')
    const file = join(rig.directory, 'slow.sh')
    await mkdir(shelf)
    await writeFile(file, SLOW_MAILBOX.replace('"$SHELF"', `'${shelf}'`), { mode: 0o755 })
    const place = await stage('port-restricted', 'port-restricted', { mappingTimeout: MAPPING_TIMEOUT })
    const more = [`--rendezvous=exec:${file}?latency=${DELAY * 1000}&poll=500`]
    const { waiting, outcome } = await paired(place, more)
    assert.ok(outcome.paired, outcome.story)
    await waiting.stop()
  })

  test('where UDP is blocked, the inviter says so', async () => {
    const { from, inviter, accepter } = await stage('udp-blocked', 'public')
    const process = rig.inviter(from, inviter, accepter)
    assert.equal(await process.ended, 1)
    assert.match(process.story(), /UDP does not seem to get out of this network.*\[UDP_BLOCKED\]/)
  })

  test('where UDP is blocked, the accepter says so, and its inviter that it has heard nobody', async () => {
    const { from, to, inviter, accepter } = await stage('public', 'udp-blocked')
    const waiting = rig.run(to, ['--accept', ...rig.flags(accepter)])
    const process = rig.inviter(from, inviter, accepter, ['--timeout=2'])
    const told = await waiting.said(/^UDP does not seem to get out of this network/)
    assert.equal(told.code, 'UDP_BLOCKED')
    assert.equal(await process.ended, 1)
    assert.match(process.story(), /\[PEER_SILENT\]/)
    await waiting.stop()
  })
})
