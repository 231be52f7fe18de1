/**
 * The suite under each release of Node that `engines` names: `npm run test:nodes`, or `node test/nodes.js 22 24 -- word…` for some of
 * them and of the test files. The package `node` of the npm registry brings each.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const RELEASES = ['20', '22', '24']
const words = process.argv.slice(2)
const at = words.includes('--') ? words.indexOf('--') : words.length
const wanted = at > 0 ? words.slice(0, at) : RELEASES
const only = words.slice(at + 1)
const directory = mkdtempSync(join(tmpdir(), 'plexus-nodes-'))
let failed = 0
try {
  for (const release of wanted) {
    const home = join(directory, release)
    spawnSync('mkdir', [home])
    writeFileSync(join(home, 'package.json'), '{}')
    const installed = spawnSync('npm', ['install', '--silent', `node@${release}`], {
      cwd: home,
      stdio: 'inherit',
    })
    if (installed.status !== 0) throw new Error(`node@${release} cannot be installed`)
    const bin = join(home, 'node_modules', '.bin')
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` }
    const run = fileURLToPath(new URL('run.js', import.meta.url))
    const { status } = spawnSync(join(bin, 'node'), [run, ...(only.length > 0 ? only : ['--quick'])], {
      env,
      stdio: 'inherit',
    })
    process.stdout.write(`Node ${release}: ${status === 0 ? 'passed' : 'failed'}\n`)
    if (status !== 0) failed++
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
process.exitCode = failed === 0 ? 0 : 1
