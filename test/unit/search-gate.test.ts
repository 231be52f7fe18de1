import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SearchGate } from '../../src/punch/index.js'

const signal = () => new AbortController().signal

/** Lets everything that is ready happen. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

test('one search at a time: who comes later waits for its turn', async () => {
  const gate = new SearchGate()
  const order: string[] = []
  const leave = await gate.enter(signal())
  const second = gate.enter(signal()).then((done) => {
    order.push('second')
    return done
  })
  const third = gate.enter(signal()).then(() => order.push('third'))
  await settle()
  assert.deepEqual(order, [])
  leave()
  const done = await second
  await settle()
  assert.deepEqual(order, ['second'])
  done()
  await third
  assert.deepEqual(order, ['second', 'third'])
})

test('who gives up while it waits lets the next one in, in its turn', async () => {
  const gate = new SearchGate()
  const leave = await gate.enter(signal())
  const controller = new AbortController()
  const waiting = gate.enter(controller.signal)
  const next = gate.enter(signal())
  controller.abort(new Error('over'))
  await assert.rejects(waiting, /over/)
  let entered = false
  void next.then(() => {
    entered = true
  })
  await settle()
  assert.ok(!entered)
  leave()
  await next
  assert.ok(entered)
})

test('who is over before it comes is not let in, and keeps nobody out', async () => {
  const gate = new SearchGate()
  await assert.rejects(gate.enter(AbortSignal.abort(new Error('over'))), /over/)
  const leave = await gate.enter(signal())
  leave()
})

test('leaving twice is leaving once', async () => {
  const gate = new SearchGate()
  const leave = await gate.enter(signal())
  leave()
  leave()
  const other = await gate.enter(signal())
  let entered = false
  void gate.enter(signal()).then(() => {
    entered = true
  })
  leave()
  await settle()
  assert.ok(!entered)
  other()
})
