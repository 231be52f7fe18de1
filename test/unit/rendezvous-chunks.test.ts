import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { join, MAX_MESSAGE, MAX_VALUE, parseHead, split } from '../../rendezvous/dht/chunks.js'
import { announcedDays, dayOf } from '../../rendezvous/dht/place.js'
import { encodePointer, parsePointer } from '../../rendezvous/dht/pointer.js'

const hash = (data: Uint8Array) => createHash('sha256').update(data).digest()

test('a message is what its head and chunks make, and none of them is larger than a value', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: MAX_MESSAGE }),
      fc.integer({ min: 0, max: 255 }),
      (length, fill) => {
        const message = Buffer.alloc(length, fill)
        const { head, chunks } = split(message, hash)
        assert.ok([head, ...chunks].every((value) => value.length <= MAX_VALUE && value.length > 0))
        const parsed = parseHead(head)
        assert.ok(parsed)
        assert.deepEqual(parsed.hashes, chunks.map(hash))
        assert.deepEqual(join(parsed, chunks), message)
        if (chunks.length > 0) assert.equal(join(parsed, chunks.slice(1)), undefined)
      },
    ),
  )
})

test('whatever else lies in a record is refused without harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => {
      const value = Buffer.from(bytes)
      const head = parseHead(value)
      if (head) assert.deepEqual(split(Buffer.alloc(head.length), hash).head.length, value.length)
      const pointer = parsePointer(value)
      if (pointer) assert.ok(pointer.relays.length <= 3)
    }),
  )
  const { head } = split(Buffer.alloc(3000, 1), hash)
  for (let at = 0; at < 4; at++) {
    const changed = Buffer.from(head)
    changed.writeUInt8((head.readUInt8(at) + 7) & 255, at)
    assert.notEqual(parseHead(changed)?.length, 3000)
  }
  assert.equal(parseHead(head.subarray(0, -1)), undefined)
  assert.equal(parseHead(Buffer.concat([head, Buffer.alloc(1)])), undefined)
})

test('a pointer is read as it was written, without relays that nothing can be sent to', () => {
  const announcer = Buffer.alloc(32, 9)
  const good = { host: '192.0.2.1', port: 49737 }
  const relays = [good, { host: '0.0.0.0', port: 1 }, { host: '192.0.2.2', port: 0 }]
  assert.deepEqual(parsePointer(encodePointer({ announcer, relays })), { announcer, relays: [good] })
})

test('around midnight an accepter is at the places of two days', () => {
  const midnight = Date.UTC(2026, 0, 2)
  const hour = 3_600_000
  const today = dayOf(midnight)
  assert.deepEqual(announcedDays(midnight + 12 * hour), [today])
  assert.deepEqual(announcedDays(midnight + hour), [today, today - 1])
  assert.deepEqual(announcedDays(midnight - hour), [today - 1, today])
})
