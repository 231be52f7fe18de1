/**
 * Configuration files bent at random: each is read, or refused with a typed error, and none takes long.
 *
 *     node dist/bench/fuzz-config.js [count=100000]
 */
import { randomBytes, randomInt } from 'node:crypto'
import { parseConfig } from '../src/cli/flags/config.js'
import { PAIRING_FLAGS } from '../src/cli/flags/flags.js'
import { Values } from '../src/cli/flags/values.js'
import { PlexusError } from '../src/errors/index.js'

const SEED = `# a server
accept=true
app-id = vpn
host-info=bob@example.com/server # ours
rendezvous=dht:
rendezvous=dir:/var/spool/plexus
stun-server=stun.example.com:3478,[2001:db8::1]:3478
stun-client=192.0.2.7:4000
port-range=4000-4010
punch-hops=7
exec-command=hooks/openvpn
exec-args=%innerip% "%peerid%" --purpose=export
`

const count = Number(process.argv[2] ?? 100_000)

/** Some bytes exchanged, taken out, put in or doubled. */
function bent(): string {
  let text = Buffer.from(SEED)
  for (let times = randomInt(1, 8); times > 0; times--) {
    const at = randomInt(text.length)
    const end = Math.min(text.length, at + randomInt(1, 20))
    const middle = [
      randomBytes(randomInt(1, 6)),
      Buffer.alloc(0),
      Buffer.concat([text, text.subarray(at, end)]),
    ]
    text = Buffer.concat([text.subarray(0, at), middle[randomInt(3)] ?? Buffer.alloc(0), text.subarray(end)])
    text = text.subarray(0, 4 * SEED.length)
  }
  return text.toString('latin1')
}

/** Everything that a pairing asks for. */
const ASKED: readonly ((values: Values) => unknown)[] = [
  (values) => values.switch('accept'),
  (values) => values.text('app-id'),
  (values) => values.identity('host-info'),
  (values) => values.many('rendezvous'),
  (values) => values.hosts('stun-server', 3478),
  (values) => values.address('stun-client'),
  (values) => values.ports('port-range'),
  (values) => values.whole('punch-hops', 1, 255, 7),
  (values) => values.path('exec-command'),
  (values) => values.text('exec-args', { empty: true }),
]

const outcomes = new Map<string, number>()
let slowest = 0
/** A step that seems slow is tried again: other programs of the machine are not what is measured. */
const SEEMS_SLOW = 5
const tried = (run: () => unknown, again = 3) => {
  let outcome = 'read'
  const began = performance.now()
  try {
    run()
  } catch (thrown) {
    if (!(thrown instanceof PlexusError) || thrown.code === 'INTERNAL') throw thrown
    outcome = thrown.code
  }
  const took = performance.now() - began
  if (took > SEEMS_SLOW && again > 0) return tried(run, again - 1)
  slowest = Math.max(slowest, took)
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
}

for (let time = 0; time < count; time++) {
  const text = bent()
  tried(() => {
    const values = new Values({}, [parseConfig(text, 'plexus.conf', PAIRING_FLAGS)])
    for (const ask of ASKED) tried(() => ask(values))
  })
}
console.log(`${count} files, slowest step ${slowest.toFixed(2)} ms`)
for (const [outcome, times] of outcomes) console.log(`${outcome.padEnd(12)} ${times}`)
