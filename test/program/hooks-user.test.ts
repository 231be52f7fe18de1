import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { HOOKS } from '../support/hooks.js'

/** Why no hook can change its user here, if so. */
const skip =
  process.getuid?.() !== 0
    ? 'only root can change its user'
    : setpriv('--reuid=nobody', '--regid=nogroup', '--clear-groups') && setpriv('--bounding-set=-all')
      ? false
      : 'setpriv is not installed, or may do nothing here'

function setpriv(...change: string[]): boolean {
  return spawnSync('setpriv', [...change, 'true']).status === 0
}

/** A hook where everybody can read it, beside programs that say whom they run as and with what. */
function staged(t: TestContext, hook: string): { hook: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'plexus-user-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [hooks, programs] = [join(folder, 'hooks'), join(folder, 'bin')]
  for (const each of [hooks, programs]) mkdirSync(each)
  for (const each of [folder, hooks, programs]) chmodSync(each, 0o755)
  for (const name of [hook, 'wormhole']) {
    copyFileSync(join(HOOKS, name), join(hooks, name))
    chmodSync(join(hooks, name), 0o755)
  }
  const program = '#!/bin/sh\nprintf "%s %s %s" "$(id -u)" "$(id -G)" "$PLEXUS_KEY"\nprintf " <%s>" "$@"\n'
  for (const name of ['plexus-wormhole', 'ssh', 'openvpn']) {
    writeFileSync(join(programs, name), program)
    chmodSync(join(programs, name), 0o755)
  }
  return { hook: join(hooks, hook), path: `${programs}:/usr/bin:/bin` }
}

for (const [name, role, rest] of [
  ['wormhole', 'accepter', '<--purpose=export> <--service=a b>'],
  ['ssh', 'accepter', '<--purpose=export> <--service=a b>'],
  ['ssh', 'inviter', /<plexus> <a b>$/],
] as const) {
  test(`the ${name} hook of an ${role} runs as the user that is named, and else as whoever starts it`, {
    skip,
  }, (t) => {
    const { hook, path } = staged(t, name)
    const started = (user: Record<string, string>) => {
      const env = { PATH: path, PLEXUS_ROLE: role, PLEXUS_KEY: 'secret', PLEXUS_PEER_ID: 'bob/a', ...user }
      return spawnSync(hook, ['a b'], { env, encoding: 'utf8' })
    }
    for (const [user, uid] of [
      [{ PLEXUS_HOOK_USER: 'nobody' }, 65_534],
      [{ PLEXUS_HOOK_USER: 'root' }, 0],
      [{}, 0],
    ] as const) {
      const { stdout, stderr, status } = started(user)
      assert.equal(status, 0, stderr)
      assert.match(stdout, uid === 0 ? /^0 [\d ]+ secret / : /^65534 65534 secret /)
      assert.ok(typeof rest === 'string' ? stdout.endsWith(rest) : rest.test(stdout), stdout)
    }
    const unknown = started({ PLEXUS_HOOK_USER: 'no-such-user' })
    assert.notEqual(unknown.status, 0)
    assert.match(unknown.stderr, /no-such-user/)
    assert.equal(unknown.stdout, '')
  })
}

test('the openvpn hook has OpenVPN change its user where it can, and stay root where a service takes that away', {
  skip,
}, (t) => {
  const { hook, path } = staged(t, 'openvpn')
  const options = (user: Record<string, string>, ...before: string[]) => {
    const passage = { PLEXUS_INNER_IP: '192.0.2.1', PLEXUS_INNER_PORT: '1', PLEXUS_PEER_IP: '192.0.2.2' }
    const files = { PLEXUS_PEER_CERT: '/none', PLEXUS_HOST_CERT: '/none', PLEXUS_HOST_KEY: '/none' }
    const env = {
      PATH: path,
      PLEXUS_ROLE: 'inviter',
      PLEXUS_KEY: '',
      PLEXUS_PEER_PORT: '2',
      ...passage,
      ...files,
      ...user,
    }
    const [command = hook, ...rest] = [...before, hook]
    const { stdout, stderr } = spawnSync(command, rest, { env, encoding: 'utf8' })
    assert.match(stdout, /<--ping-exit>/, stderr)
    return /<--user>.*(?= <--data-ciphers>)/.exec(stdout)?.[0]
  }
  const limited = ['setpriv', '--bounding-set=-all,+net_admin', '--inh-caps=-all']
  const nobody = '<--user> <nobody> <--group> <nogroup> <--persist-tun> <--persist-key>'
  const daemon = nobody.replace('nobody', 'daemon').replace('nogroup', 'daemon')
  assert.equal(options({}), nobody)
  assert.equal(options({ PLEXUS_VPN_USER: 'daemon' }), daemon)
  assert.equal(options({ PLEXUS_VPN_USER: 'root' }), undefined)
  assert.equal(options({}, ...limited), undefined)
  assert.equal(options({ PLEXUS_VPN_USER: 'daemon' }, ...limited), daemon)
})
