import assert from 'node:assert/strict'
import { test } from 'node:test'
import { underScarcity } from '../support/hostile/scarcity.js'

test('seven tunnels of one identity do not take every local port towards a service', () => {
  const left = underScarcity({ ports: 128, attacks: ['every port'], while: 30_000 })
  assert.ok(left.refusing > 0)
  assert.ok(left.connections < 128 - 8, `${left.connections} of 128 ports`)
  assert.ok(left.connects, 'another identity connects to the same service')
  assert.equal(left.pairings, 3)
  assert.equal(left.exhausted, 0)
})
