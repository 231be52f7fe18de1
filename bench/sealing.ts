/**
 * How long sealing and unsealing an offer takes, by the kind of key that both sides have.
 * `node dist/bench/sealing.js [times=200]`
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseIdentity, Repository } from '../src/identity/index.js'
import { seal, unseal } from '../src/sealing/index.js'

/** The kinds of keys, as openssl names them. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  'RSA 2048': ['rsa:2048'],
  'RSA 3072': ['rsa:3072'],
  'RSA 4096': ['rsa:4096'],
  'P-256': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
}

/** An offer with some candidates has about this many bytes. */
const CONTENT = Buffer.alloc(700, 'x')
const NAME = parseIdentity('bench@example.com/bench')

function middle(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[Math.floor(sorted.length / 2)] ?? Number.NaN).toFixed(2)
}

const times = Number(process.argv[2] ?? 200)
const directory = mkdtempSync(join(tmpdir(), 'plexus-sealing-'))
try {
  for (const [name, key] of Object.entries(KEYS)) {
    const home = join(directory, name, NAME.owner, NAME.pin)
    mkdirSync(home, { recursive: true })
    const [cert, secret] = [join(home, 'cert.crt'), join(home, 'private.key')]
    const request = ['req', '-x509', '-newkey', ...key, '-nodes', '-subj', '/CN=bench', '-days', '1']
    execFileSync('openssl', [...request, '-keyout', secret, '-out', cert], { stdio: 'ignore' })
    chmodSync(secret, 0o600)
    const host = await (await Repository.open(join(directory, name))).host(NAME)
    const took = { seal: [] as number[], unseal: [] as number[] }
    for (let time = 0; time < times; time++) {
      const start = performance.now()
      const sealed = await seal(CONTENT, host, host.certificate)
      const between = performance.now()
      const opened = await unseal(sealed, host)
      opened.verify(host.certificate)
      took.seal.push(between - start)
      took.unseal.push(performance.now() - between)
    }
    process.stdout.write(
      `${name}: seal ${middle(took.seal)} ms, unseal ${middle(took.unseal)} ms, ${times} times\n`,
    )
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
