import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlexusError } from '../../src/errors/index.js'
import { commandEnvironment, WILDCARDS } from '../../src/exec/index.js'
import { fill, fillPath, parseTemplate } from '../../src/exec/template.js'
import { PASSAGE } from './exec-stage.js'

const word = (text: string, values = {}) =>
  fill(parseTemplate(text, '--exec-args'), { ...PASSAGE, ...values }, '/k')
const path = (text: string, values = {}) =>
  fillPath(parseTemplate(text, '--exec-log'), { ...PASSAGE, ...values })
const v6 = {
  inner: { address: 'fd00::1', port: 1 },
  outer: { address: '2001:db8::2', port: 2 },
  peer: { address: '2001:db8::3', port: 3 },
}

test('every wildcard of both generations is filled in', () => {
  for (const [text, value] of [
    ['%innerip% %innerport%', '192.0.2.10 4001'],
    ['%outerip% %outerport%', '198.51.100.20 4002'],
    ['%peerip% %peerport%', '203.0.113.30 4003'],
    ['%inner% %outer% %alien%', '192.0.2.10:4001 198.51.100.20:4002 203.0.113.30:4003'],
    [
      '%hostmail% %hostemail% %hostpin% %hostid%',
      'alice@example.com alice@example.com laptop alice@example.com/laptop',
    ],
    [
      '%peermail% %peeremail% %peerpin% %peerid%',
      'bob@example.com bob@example.com server bob@example.com/server',
    ],
    ['%secret%', '18000000000000000001'],
    ['%hostcert% %hostkey% %peercert%', '/repo/h/cert.crt /repo/h/private.key /repo/p/cert.crt'],
    ['%qos%', 'udp:server'],
    ['%keyfile%', '/k'],
  ] as const) {
    assert.equal(word(text), value)
  }
  assert.equal(word('%qos%', { role: 'inviter' }), 'udp:client')
})

test('an IPv6 address is bare, and in brackets before a port', () => {
  assert.equal(word('%innerip% %outerip% %peerip%', v6), 'fd00::1 2001:db8::2 2001:db8::3')
  assert.equal(word('%inner% %outer% %alien%', v6), '[fd00::1]:1 [2001:db8::2]:2 [2001:db8::3]:3')
  assert.equal(word('--to=%peerip%:%peerport%', v6), '--to=[2001:db8::3]:3')
  assert.equal(word('%innerip%:%peerport%', v6), '[fd00::1]:3')
  assert.equal(word('[%peerip%]:%peerport%', v6), '[2001:db8::3]:3')
  assert.equal(word('%peerip%:%hostpin%', v6), '2001:db8::3:laptop')
  assert.equal(word('%peerip%:%peerport%'), '203.0.113.30:4003')
})

test('percent signs that enclose no name mean themselves', () => {
  for (const text of ['%', '%%', '50%', '50% of 60%', '+%Y%m%d', '%20x%20', '%a b c%'])
    assert.equal(word(text), text)
  assert.equal(word('100%%peerport%%'), '100%4003%')
})

test('a value that looks like a wildcard is not filled in again', () => {
  const peerId = { owner: '%peerip%', pin: '%secret%' }
  assert.equal(word('%peermail%%peerpin%', { peerId }), '%peerip%%secret%')
})

test('an unknown wildcard is refused, and the known ones are listed', () => {
  assert.throws(
    () => word('%innerpi%'),
    (error) =>
      error instanceof PlexusError &&
      error.code === 'BAD_EXEC_ARGS' &&
      error.message.includes('%innerpi%') &&
      Object.keys(WILDCARDS).every((name) => name === 'key' || error.advice.includes(`%${name}%`)),
  )
})

test('the key stands in no argument and in no path', () => {
  for (const flag of ['--exec-args', '--exec-pwd', '--exec-log'] as const) {
    assert.throws(() => parseTemplate('x%key%', flag), { code: 'BAD_EXEC_ARGS' })
  }
  assert.throws(() => parseTemplate('%keyfile%', '--exec-log'), { code: 'BAD_EXEC_ARGS' })
})

test('a value cannot leave the directory that a path names', () => {
  assert.equal(path('/var/log/%peerid%.log'), '/var/log/bob@example.com_server.log')
  const peerId = { owner: '..', pin: '../../etc/passwd\n$(id) é' }
  assert.equal(path('/l/%peermail%/%peerpin%', { peerId }), '/l/_/.._.._etc_passwd___id__é')
  assert.equal(path('/l/%peerip%', v6), '/l/2001:db8::3')
})

test('the environment holds every wildcard, and nothing of the own flags', () => {
  const parent = {
    PATH: '/bin',
    PLEXUS_OPT_EMAIL_PASSWORD: 'x',
    PLEXUS_VPN_LOCAL: '10.0.0.1',
    PLEXUS_KEY: 'old',
  }
  const env = commandEnvironment(parent, { ...PASSAGE, ...v6 }, '/k')
  assert.deepEqual(env, {
    PATH: '/bin',
    PLEXUS_VPN_LOCAL: '10.0.0.1',
    PLEXUS_INNER_IP: 'fd00::1',
    PLEXUS_INNER_PORT: '1',
    PLEXUS_OUTER_IP: '2001:db8::2',
    PLEXUS_OUTER_PORT: '2',
    PLEXUS_PEER_IP: '2001:db8::3',
    PLEXUS_PEER_PORT: '3',
    PLEXUS_INNER: '[fd00::1]:1',
    PLEXUS_OUTER: '[2001:db8::2]:2',
    PLEXUS_ALIEN: '[2001:db8::3]:3',
    PLEXUS_SECRET: '18000000000000000001',
    PLEXUS_KEY: PASSAGE.key.toString('base64'),
    PLEXUS_KEY_FILE: '/k',
    PLEXUS_HOST_ID: 'alice@example.com/laptop',
    PLEXUS_HOST_PIN: 'laptop',
    PLEXUS_HOST_MAIL: 'alice@example.com',
    PLEXUS_HOST_EMAIL: 'alice@example.com',
    PLEXUS_PEER_ID: 'bob@example.com/server',
    PLEXUS_PEER_PIN: 'server',
    PLEXUS_PEER_MAIL: 'bob@example.com',
    PLEXUS_PEER_EMAIL: 'bob@example.com',
    PLEXUS_HOST_CERT: '/repo/h/cert.crt',
    PLEXUS_HOST_KEY: '/repo/h/private.key',
    PLEXUS_PEER_CERT: '/repo/p/cert.crt',
    PLEXUS_QOS: 'udp:server',
    PLEXUS_ROLE: 'accepter',
    PLEXUS_APP: 'demo',
    PLEXUS_SESSION: '00ff00ff',
  })
})
