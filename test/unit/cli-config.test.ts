import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { joinWords, nearest } from '../../src/cli/flags/argv.js'
import { parseConfig } from '../../src/cli/flags/config.js'
import { type Flag, PAIRING_FLAGS } from '../../src/cli/flags/flags.js'
import { environmentSource, settled } from '../../src/cli/flags/settled.js'
import { Values } from '../../src/cli/flags/values.js'
import { PlexusError } from '../../src/errors/index.js'

const parsed = (text: string) => new Values({}, [parseConfig(text, 'plexus.conf', PAIRING_FLAGS)])

/** The sentence that a refusal names its cause with. */
function refusal(code: string, run: () => unknown): string {
  try {
    run()
  } catch (thrown) {
    assert.ok(thrown instanceof PlexusError)
    assert.equal(thrown.code, code)
    return thrown.message
  }
  assert.fail('nothing was refused')
}

describe('a configuration file', () => {
  test('has a line for each flag, with comments and blanks that do not count', () => {
    const values = parsed('# all of it\r\n\r\n  app-id =  vpn  # ours\r\naccept=true\npunch-hops=3\n')
    assert.equal(values.text('app-id'), 'vpn')
    assert.equal(values.switch('accept'), true)
    assert.equal(values.whole('punch-hops', 1, 255, 7), 3)
    assert.equal(values.text('peer-info'), undefined)
  })

  test('may repeat what the command line may repeat', () => {
    assert.deepEqual(parsed('rendezvous=dht:\nrendezvous=dir:/x\n').many('rendezvous'), ['dht:', 'dir:/x'])
  })

  test('knows the names of plexus 3.3 and 3.4', () => {
    assert.equal(parsed('host-id=a/b\n').text('host-info'), 'a/b')
  })

  test('keeps an equals sign in a value, and an empty value where that is one', () => {
    assert.equal(parsed('exec-args=--purpose=export\n').text('exec-args'), '--purpose=export')
    assert.equal(parsed('exec-args=\n').text('exec-args', { empty: true }), '')
  })

  test('names file and line of what is wrong', () => {
    const wrong = (text: string) => refusal('BAD_CONFIG', () => parsed(text))
    assert.equal(wrong('app-id=a\n\nfrob=1'), "plexus.conf, line 3: 'frob' is not a flag.")
    assert.match(wrong('just words'), /line 1: 'just words' should be name=value/)
    assert.match(wrong('accept'), /line 1: 'accept' should be accept=true/)
    assert.match(wrong('[peer]\n'), /line 1: '\[peer\]' is a section/)
    assert.match(wrong('app-id=a\napp-name=b'), /line 2: 'app-name' is already set in line 1/)
    assert.match(wrong('config=other.conf'), /'config' is not a flag/)
  })

  test('names file and line of a value that is wrong', () => {
    const values = parsed('\npunch-hops=many\n')
    const sentence = refusal('BAD_FLAG', () => values.whole('punch-hops', 1, 255, 7))
    assert.equal(
      sentence,
      "'punch-hops' in plexus.conf, line 2, is 'many', but should be a whole number from 1 to 255.",
    )
  })

  test('that holds anything at all is read or refused, and nothing else', () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .tuple(fc.constantFrom(...PAIRING_FLAGS.map(({ name }) => name)), fc.string())
        .map((it) => it.join('=')),
    )
    const text = fc.array(line).map((lines) => lines.join('\n'))
    fc.assert(
      fc.property(text, (it) => {
        try {
          parsed(it)
        } catch (thrown) {
          assert.ok(thrown instanceof PlexusError)
          assert.equal(thrown.code, 'BAD_CONFIG')
        }
      }),
      { numRuns: 5000 },
    )
  })
})

describe('the environment', () => {
  const values = (variables: Record<string, string>) =>
    new Values({}, [environmentSource(variables, PAIRING_FLAGS)])

  test('gives flags by their names in capitals', () => {
    assert.equal(values({ PLEXUS_OPT_APP_ID: 'vpn' }).text('app-id'), 'vpn')
    assert.equal(values({ PLEXUS_OPT_HOST_ID: 'a/b' }).text('host-info'), 'a/b')
  })

  test('gives a switch in words', () => {
    for (const word of ['1', 'true', 'YES', 'on'])
      assert.ok(values({ PLEXUS_OPT_ACCEPT: word }).switch('accept'))
    for (const word of ['0', 'false', 'No', 'off', '']) {
      assert.ok(!values({ PLEXUS_OPT_ACCEPT: word }).switch('accept'))
    }
    const sentence = refusal('BAD_FLAG', () => values({ PLEXUS_OPT_ACCEPT: 'perhaps' }).switch('accept'))
    assert.equal(sentence, "PLEXUS_OPT_ACCEPT is 'perhaps', but should be yes or no.")
  })

  test('has a line for each value of what may be repeated', () => {
    assert.deepEqual(values({ PLEXUS_OPT_RENDEZVOUS: 'dht:\ndir:/x' }).many('rendezvous'), ['dht:', 'dir:/x'])
  })

  test('may hold what is no flag, and empty variables', () => {
    const found = values({ PLEXUS_OPT_FROB: '1', PLEXUS_OPT_APP_ID: '', PLEXUS_APP: 'x' })
    assert.equal(found.text('app-id'), undefined)
    assert.equal(found.text('exec-args', { empty: true }), undefined)
  })

  test('comes after the command line', () => {
    const found = settled({ 'app-id': 'line' }, PAIRING_FLAGS, { PLEXUS_OPT_APP_ID: 'environment' })
    assert.equal(found.text('app-id'), 'line')
  })
})

describe('the words of a command line', () => {
  const flags: readonly Flag[] = PAIRING_FLAGS
  test('a value in a word of its own may begin with dashes or be empty', () => {
    assert.deepEqual(joinWords(['--exec-args', '--purpose=export'], flags), ['--exec-args=--purpose=export'])
    assert.deepEqual(joinWords(['--exec-args', '', '--accept'], flags), ['--exec-args=', '--accept'])
    assert.deepEqual(joinWords(['--exec-args=--a --b'], flags), ['--exec-args=--a --b'])
  })

  test('nothing is read behind two dashes', () => {
    assert.deepEqual(joinWords(['--', '--app-id'], flags), ['--', '--app-id'])
  })

  test('a mistyped flag is told from a foreign one', () => {
    assert.equal(nearest('accpet', ['accept', 'app-id']), 'accept')
    assert.equal(nearest('frobnicate', ['accept', 'app-id']), undefined)
  })
})

test('every flag of plexus 3.0 to 3.4 is known', () => {
  const known = PAIRING_FLAGS.flatMap(({ name, aliases = [] }) => [name, ...aliases])
  const seed = `accept app-id app-repo host-info peer-info stun-server stun-client punch-hops dht-bootstrap dht-port
    dht-network email-smtps email-imaps email-login email-password email-cert email-key email-ca exec-command exec-args
    exec-pwd exec-log log-level log-file config app-name host-id peer-id udp-stun udp-bind nat-hops exec-cmd exec-env`
  assert.deepEqual(
    seed.split(/\s+/).filter((name) => !known.includes(name)),
    [],
  )
})
