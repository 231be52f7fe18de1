import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { exposure, membersOf, unsafePath, unsafePathSoon } from '../../src/files/index.js'

const NOT_ROOT = process.getuid?.() === 0 ? false : 'only root can make files of others'
const BOB = 12_345

let directory: string
let file: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'plexus-safe-'))
  mkdirSync(join(directory, 'bin'), { mode: 0o755 })
  file = join(directory, 'bin', 'hook')
  writeFileSync(file, '#!/bin/sh\n', { mode: 0o755 })
  chmodSync(directory, 0o755)
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Runs something as another effective user. */
function as<T>(uid: number, run: () => T): T {
  process.seteuid?.(uid)
  try {
    return run()
  } finally {
    process.seteuid?.(0)
  }
}

async function verdict(path: string): Promise<string | undefined> {
  const found = unsafePath(path)
  // both ways of asking answer alike
  assert.deepEqual(await unsafePathSoon(path), found)
  return found && `${found.path.slice(directory.length)} ${found.why}`
}

describe('a path is safe', { skip: NOT_ROOT }, () => {
  test('when root owns all of it, or the user who asks', async () => {
    assert.equal(await verdict(file), undefined)
    chownSync(join(directory, 'bin'), BOB, BOB)
    chownSync(file, BOB, BOB)
    assert.equal(
      as(BOB, () => unsafePath(file)),
      undefined,
    )
    assert.match((await verdict(file)) ?? '', /^\/bin belongs to another user \(uid 12345\)$/)
  })

  test('unless others can write any component of it', async () => {
    for (const [path, mode, said] of [
      [file, 0o757, '/bin/hook can be written by everybody (mode 0757)'],
      [join(directory, 'bin'), 0o777, '/bin can be written by everybody (mode 0777)'],
      [directory, 0o777, ' can be written by everybody (mode 0777)'],
    ] as const) {
      chmodSync(path, mode)
      assert.equal(await verdict(file), said)
      chmodSync(path, 0o755)
    }
    chownSync(directory, 0, BOB)
    chmodSync(directory, 0o775)
    assert.equal(await verdict(file), ` can be written by its group (gid ${BOB}, mode 0775)`)
  })

  test('when others could only add to a directory of it, as to /tmp', async () => {
    chmodSync(join(directory, 'bin'), 0o1777)
    assert.equal(await verdict(file), undefined)
    // the directory itself is another matter, and so is what somebody else put there
    assert.match((await verdict(join(directory, 'bin'))) ?? '', /everybody/)
    chownSync(file, BOB, BOB)
    assert.match((await verdict(file)) ?? '', /another user/)
  })

  test('through links only when their owners and their directories are trusted too', async () => {
    const link = join(directory, 'link')
    symlinkSync('bin/../bin/hook', link)
    assert.equal(await verdict(link), undefined)
    lchownSync(link, BOB, BOB)
    assert.equal(await verdict(link), '/link belongs to another user (uid 12345)')
    lchownSync(link, 0, 0)
    chmodSync(directory, 0o777)
    assert.match((await verdict(link)) ?? '', /^ can be written by everybody/)
    chmodSync(directory, 0o755)
    mkdirSync(join(directory, 'theirs'))
    chmodSync(join(directory, 'theirs'), 0o777)
    symlinkSync(file, join(directory, 'theirs', 'link'))
    assert.match((await verdict(join(directory, 'theirs', 'link'))) ?? '', /^\/theirs can be written/)
    symlinkSync('loop', join(directory, 'loop'))
    assert.equal(await verdict(join(directory, 'loop')), undefined)
  })

  test('or not there: that is for others to say', async () => {
    assert.equal(await verdict(join(directory, 'none', 'such')), undefined)
  })
})

test('a group is private when root and the user are all that is in it', () => {
  const users = 'root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n'
  const groups =
    'root:x:0:\nann:x:1000:\nbob:x:1001:\nteam:x:50:ann,bob\nduo:x:51:ann,root\nsolo:x:52:ghost\n'
  const members = (gid: number, own = 1000) => membersOf(gid, groups, users, own)
  assert.deepEqual(
    [1000, 1001, 50, 51, 52, 99].map((gid) => members(gid)),
    [true, false, false, true, false, false],
  )
  assert.equal(members(1001, 1001), true)
  assert.equal(membersOf(1000, '', '', 1000), false)
})

describe('a file with a secret', { skip: NOT_ROOT }, () => {
  const said = (own: number, uid: number, gid: number, mode: number) =>
    as(own, () => exposure('/f', { uid, gid, mode })?.why)

  test('is its owner’s alone', () => {
    assert.equal(said(BOB, BOB, BOB, 0o600), undefined)
    assert.equal(said(BOB, 0, 0, 0o400), undefined)
    for (const mode of [0o640, 0o440, 0o604, 0o644, 0o620, 0o601])
      assert.match(said(BOB, BOB, BOB, mode) ?? '', /open to other users/)
    assert.match(said(BOB, 4321, BOB, 0o600) ?? '', /another user \(uid 4321\)/)
  })

  test('may be handed over by root: a credential of systemd, a secret of Kubernetes', () => {
    assert.equal(said(BOB, 0, 0, 0o440), undefined) // by an ACL, whose mask stands in the bits of the group
    assert.equal(said(BOB, 0, BOB, 0o440), undefined) // by fsGroup
    assert.equal(said(BOB, 0, BOB, 0o640), undefined)
    for (const mode of [0o444, 0o644, 0o460, 0o450]) assert.match(said(BOB, 0, BOB, mode) ?? '', /open to/)
    assert.equal(said(0, 0, 0, 0o440), undefined)
    assert.match(said(0, 0, 0, 0o640) ?? '', /open to/)
    assert.match(said(0, 0, BOB, 0o440) ?? '', /open to/)
  })
})
