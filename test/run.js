/**
 * The whole suite on a fresh clone: installs what package.json names, builds, lints, fetches missing Debian packages
 * where it may, and runs every test, two files at a time: the pure ones first, then those that start the program, then those
 * that own servers and network namespaces. Its last line is `N passed, N failed, N skipped`.
 *
 * `node test/run.js word…` runs only the test files whose path contains one of the words; `--quick` leaves out the lint and
 * whatever starts the program, or owns servers and network namespaces.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const quick = process.argv.includes('--quick')
const words = process.argv.slice(2).filter((word) => word !== '--quick')

/** What the tests use of Debian, by the file that shows it is there. */
const DEBIAN = {
  '/usr/sbin/nft': 'nftables',
  '/usr/sbin/ip': 'iproute2',
  '/usr/sbin/conntrack': 'conntrack',
  '/usr/bin/tcpdump': 'tcpdump',
  '/usr/bin/openssl': 'openssl',
  '/usr/bin/turnserver': 'coturn',
  '/usr/sbin/openvpn': 'openvpn',
  '/usr/sbin/postfix': 'postfix',
  '/usr/sbin/dovecot': 'dovecot-imapd',
  '/usr/bin/ping': 'iputils-ping',
  '/usr/bin/python3': 'python3',
  '/usr/sbin/miniupnpd': 'miniupnpd-nftables',
  '/usr/bin/wg': 'wireguard-tools',
  '/usr/bin/wireguard-go': 'wireguard-go',
  '/usr/bin/ssh': 'openssh-client',
  '/usr/sbin/sshd': 'openssh-server',
  '/usr/bin/redis-cli': 'redis-tools',
  '/usr/sbin/dnsmasq': 'dnsmasq-base',
  '/usr/bin/dig': 'bind9-dnsutils',
  '/usr/bin/shellcheck': 'shellcheck',
}

function step(command, args, options = {}) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', ...options })
  if (status === 0) return
  console.error(`${command} ${args.join(' ')} failed`)
  console.log('0 passed, 1 failed, 0 skipped')
  process.exit(1)
}

function installed() {
  const lock = 'node_modules/.package-lock.json'
  return existsSync(lock) && statSync(lock).mtimeMs >= statSync('package-lock.json').mtimeMs
}

function debianPackages() {
  const missing = Object.entries(DEBIAN).flatMap(([file, name]) => (existsSync(file) ? [] : [name]))
  if (missing.length === 0 || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', ...missing],
  ]) {
    // a failure is no error here: each test that needs one of them is skipped by name
    spawnSync('apt-get', args, { stdio: ['ignore', 'ignore', 'inherit'], env })
  }
}

function testFiles(folder) {
  const base = join('dist', 'test', folder)
  if (!existsSync(base)) return []
  return readdirSync(base, { recursive: true })
    .map((name) => join(base, String(name)))
    .filter((name) => name.endsWith('.test.js'))
    .filter((name) => existsSync(name.replace(/^dist\//, '').replace(/\.js$/, '.ts')))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
    .sort()
}

const count = { passed: 0, failed: 0, skipped: 0 }
const failures = []

async function runTests(files, concurrency) {
  if (files.length === 0) return
  const events = run({ files, concurrency, timeout: 600_000 })
  events.on('test:pass', (event) => {
    if (event.details.type === 'suite') return
    if (event.skip === undefined) count.passed++
    else count.skipped++
  })
  events.on('test:fail', (event) => {
    if (event.details.type === 'suite' && event.details.error?.failureType === 'subtestsFailed') return
    count.failed++
    failures.push(`${event.file ?? ''}: ${event.name}`)
  })
  await new Promise((resolve) => {
    events.on('close', resolve)
    events.on('end', resolve)
    events.compose(new spec()).pipe(process.stdout, { end: false })
  })
}

if (!installed()) step('npm', ['ci', '--no-audit', '--no-fund'])
step('npm', ['run', '--silent', 'build'])
if (words.length === 0 && !quick) step('npm', ['run', '--silent', 'lint'])
if (!quick) debianPackages()
// most of the pure ones wait now and then: three at a time keep two cores busy
await runTests([...testFiles('unit'), ...testFiles('simulation')], quick ? 3 : 2)
if (!quick) await runTests(testFiles('program'), 2)
// each laboratory has namespaces of its own, and most of its time is waiting: two at a time do not disturb each other
const labs = quick ? [] : [...testFiles('interop'), ...testFiles('natlab')]
// minutes of waiting begin first, beside all the others
const long = (name) => /uptime/.test(name)
await runTests([...labs.filter(long), ...labs.filter((name) => !long(name))], 2)
for (const failure of failures) console.log(`failed: ${failure}`)
console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
process.exit(count.failed === 0 && count.passed > 0 ? 0 : 1)
