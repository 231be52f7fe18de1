import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  Admission,
  HEARING,
  type Kind,
  MAX_OF_A_PEER,
  MAX_SESSIONS,
  ROOM,
  type Room,
} from '../../src/pairing/admission.js'

const LATENCY = 500

/** An admission with a clock of its own, in which every session that is admitted begins. */
class Hall {
  readonly admission = new Admission()
  now = 0
  #made = 0

  /** @returns the session's id, or why it was refused; `ended` has those that it displaced */
  ask(peer: string, { kind = 'pairing' as Kind, supersede = false, room = ROOM as Room } = {}) {
    const session = `${peer} ${++this.#made}`
    const verdict = this.admission.request(
      this.now,
      { session, peer, kind, latency: LATENCY, supersede },
      room,
    )
    if (verdict.is === 'refused') {
      const { sentence: why, by } = verdict
      return { session: undefined, ended: [] as readonly string[], why, by }
    }
    this.admission.confirm(session)
    return { session, ended: verdict.displaced, why: undefined, by: undefined }
  }

  /** As many as are let in. @returns their ids */
  fill(peer: string, count: number, kind: Kind = 'pairing'): string[] {
    return Array.from({ length: count }, () => this.ask(peer, { kind }).session ?? '').filter(
      (id) => id !== '',
    )
  }
}

describe('the places of an accepter', () => {
  test('are three for one identity, however often it asks', () => {
    const hall = new Hall()
    assert.equal(hall.fill('mallory', 40).length, MAX_OF_A_PEER)
    assert.ok(hall.ask('alice').session)
  })

  test('are counted apart for pings', () => {
    const hall = new Hall()
    assert.equal(hall.fill('mallory', 40, 'ping').length, MAX_OF_A_PEER)
    assert.equal(hall.fill('mallory', 40).length, MAX_OF_A_PEER)
  })

  test('are worth waiting for unless there are none at all', () => {
    const hall = new Hall()
    const room = { pairing: 1, ping: 0, all: 1, sentence: 'The port is in use.' }
    assert.equal(hall.ask('alice', { kind: 'ping', room }).by, 'room')
    assert.ok(hall.ask('alice', { room }).session)
    assert.equal(hall.ask('bob', { room }).by, 'sessions')
    hall.fill('mallory', MAX_OF_A_PEER)
    assert.equal(hall.ask('mallory').by, 'sessions')
  })

  test('are sixteen in all', () => {
    const hall = new Hall()
    for (let peer = 0; peer < MAX_SESSIONS; peer++) assert.ok(hall.ask(`peer ${peer}`).session)
    assert.match(hall.ask('one more').why ?? '', /16 pairings are already in progress/)
  })

  test('when all are taken, an identity that has none gets the oldest unheard one of whoever holds most', () => {
    const hall = new Hall()
    const first = hall.ask('a').session
    const held = ['b', 'c', 'd', 'e', 'f'].flatMap((peer) => hall.fill(peer, 3))
    assert.ok(first && held.length === MAX_SESSIONS - 1)
    hall.admission.heard(0, held[0] ?? '')
    const { session, ended } = hall.ask('alice')
    assert.ok(session)
    assert.deepEqual(ended, [held[1]], 'the oldest that was not heard')
    assert.deepEqual(hall.ask('zoe').ended, [held[3]], 'then of the next, as the first holds less now')
    assert.equal(hall.ask('alice').session, undefined, 'who has one displaces nobody')
  })

  test('are not taken from those who hold one each: the crowd is honest', () => {
    const hall = new Hall()
    for (let peer = 0; peer < MAX_SESSIONS; peer++) hall.ask(`peer ${peer}`)
    assert.equal(hall.ask('alice').session, undefined)
  })

  test('are not taken from a session in which something was heard', () => {
    const hall = new Hall()
    const held = ['a', 'b', 'c', 'd', 'e', 'f'].flatMap((peer) => hall.fill(peer, 3))
    for (const session of held) hall.admission.heard(0, session)
    assert.equal(hall.ask('alice').session, undefined)
  })

  for (const [what, asking] of [
    ['another identity', 'alice'],
    ['the same one', 'peer 0'],
  ] as const) {
    test(`are given up after 8 s beyond the latency when nothing was heard, to ${what}`, () => {
      const hall = new Hall()
      const held = ['peer 0', 'b', 'c', 'd', 'e', 'f'].flatMap((peer) => hall.fill(peer, 3))
      assert.equal(held.length, MAX_SESSIONS)
      for (const session of held.slice(3)) hall.admission.heard(LATENCY + 1, session)
      hall.now = HEARING + LATENCY - 1
      const early = hall.ask(asking)
      assert.deepEqual(early.ended, asking === 'alice' ? [held[0]] : [])
      hall.now = HEARING + LATENCY
      assert.deepEqual(hall.ask(asking).ended, [held[asking === 'alice' ? 1 : 0]])
    })
  }

  test('are kept as long as nobody else wants them: a search takes longer than that', () => {
    const hall = new Hall()
    hall.fill('a', 3)
    hall.now = 60_000
    assert.equal(hall.admission.underway('a').ofPeer, 3)
    assert.deepEqual(hall.ask('b').ended, [])
  })

  test('a session that was heard and came no further gives its place up later', () => {
    const hall = new Hall()
    const [first = ''] = hall.fill('a', 3)
    hall.now = 5000
    hall.admission.heard(hall.now, first)
    hall.now = HEARING + LATENCY
    assert.notDeepEqual(hall.ask('a').ended, [first])
    hall.now = 5000 + HEARING
    assert.ok(hall.ask('a').ended.includes(first))
  })

  test('that were promised are given back when the session does not begin', () => {
    const { admission } = new Hall()
    const request = { peer: 'a', kind: 'pairing', latency: 0, supersede: true } as const
    admission.request(0, { ...request, session: '1' })
    admission.confirm('1')
    const second = admission.request(0, { ...request, session: '2' })
    assert.deepEqual(second, { is: 'admitted', displaced: ['1'] })
    admission.leave(0, '2', 'not begun')
    assert.deepEqual(admission.underway('a'), { ofPeer: 1, pairings: 1, all: 1 })
  })

  test('the newest invite of an identity ends its earlier one where only the newest counts', () => {
    const hall = new Hall()
    const { session } = hall.ask('a', { supersede: true })
    assert.deepEqual(hall.ask('a', { supersede: true }).ended, [session])
    assert.deepEqual(hall.ask('a', { kind: 'ping', supersede: true }).ended, [])
  })

  describe('where there is one port', () => {
    const room: Room = { ...ROOM, all: 1 }

    test('an identity cannot hold it by sessions that come to nothing', () => {
      const hall = new Hall()
      for (let time = 0; time < 4; time++) {
        const { session } = hall.ask('mallory', { room })
        assert.ok(session)
        hall.now += 1000
        hall.admission.leave(hall.now, session, 'failed')
      }
      const holding = hall.ask('mallory', { room }).session
      const { session, ended } = hall.ask('alice', { room })
      assert.ok(session)
      assert.deepEqual(ended, [holding])
      assert.equal(hall.ask('mallory', { room }).session, undefined, 'and cannot take it back')
    })

    test('an honest one is not put out by another honest one', () => {
      const hall = new Hall()
      assert.ok(hall.ask('alice', { room }).session)
      assert.equal(hall.ask('bob', { room }).session, undefined)
    })
  })

  test('what failed is forgotten, and does not grow with the number of identities', () => {
    const hall = new Hall()
    for (let peer = 0; peer < 20_000; peer++) {
      const { session = '' } = hall.ask(`peer ${peer}`)
      hall.admission.leave(hall.now, session, 'failed')
    }
    const { failures } = hall.admission.remembered
    assert.ok(failures <= 1024, `${failures} are remembered`)
  })
})
