import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { after, afterEach, before, describe, test } from 'node:test'
import { Program } from '../support/program.js'
import { readmeCommands } from '../support/readme.js'
import { ask, Service } from '../support/services.js'
import { LAPTOP, SERVER, TwoPrograms } from '../support/two-programs.js'

const COMMANDS = readmeCommands('docs/wormhole.md')

describe('the commands of docs/wormhole.md', () => {
  let programs: TwoPrograms
  let echo: Service
  const byHand: Program[] = []

  before(async () => {
    programs = await TwoPrograms.create()
    echo = await Service.echo()
    writeFileSync(programs.path('key'), randomBytes(32).toString('base64'), { mode: 0o600 })
  })
  afterEach(async () => {
    await programs.end()
    await Promise.all(byHand.splice(0).map((program) => program.end()))
  })
  after(async () => {
    await echo.close()
    await programs.close()
  })

  /** The command that has this in it, as words, with what a test can have in place of what a reader has. */
  const command = (part: string, changes: Readonly<Record<string, string>> = {}): string[] => {
    const found = COMMANDS.filter(({ line }) => line.includes(part))
    assert.equal(found.length, 1, part)
    let line = found[0]?.line ?? ''
    for (const [from, to] of Object.entries(changes)) {
      assert.ok(line.includes(from), `${from} in ${line}`)
      line = line.replaceAll(from, to)
    }
    return line.split(' ').slice(1)
  }

  /** With the repository and the rendezvous of the test. */
  const pairing = (host: string, words: readonly string[]): Program =>
    programs.start(
      host,
      words.filter((word) => !word.startsWith('--app-repo=')),
    )

  const reached = async (program: Program, name: string, words: string): Promise<void> => {
    await program.said(new RegExp(`importing ${name} at`))
    const port = Number(new RegExp(`importing ${name} at \\S+:(\\d+)`).exec(program.stderr)?.[1])
    assert.equal(await ask(port, words), words)
  }

  test('are all run here', () => {
    assert.equal(COMMANDS.length, 7)
  })

  test('lead to an export', async () => {
    pairing(SERVER, command('--export ssh=22', { 'ssh=22': `ssh=${echo.port}` }))
    await reached(pairing(LAPTOP, command('--import ssh=2222', { 2222: '0' })), 'ssh', 'hello')
  })

  test('export to those that they name', async () => {
    const program = pairing(SERVER, command('dns=udp:5353'))
    await program.said(/exporting dns \(udp:127\.0\.0\.1:5353\) to alice@example\.com\/laptop/)
  })

  test('lead the other way round', async () => {
    const accepter = pairing(SERVER, command('--import camera=8554', { 8554: '0' }))
    pairing(LAPTOP, command('--export camera=554', { 'camera=554': `camera=${echo.port}` }))
    await reached(accepter, 'camera', 'called home')
  })

  test('work by hand', async () => {
    const [here, there] = ['127.0.0.1:47330', '127.0.0.1:47331']
    const ends = { '192.0.2.1:4000': here, '192.0.2.2:4000': there }
    byHand.push(
      new Program(command('--purpose=export', { ...ends, 'service=22': `service=${echo.port}` }), {
        cwd: programs.directory,
      }),
    )
    const importer = new Program(command('--purpose=import', { ...ends, 2222: '0' }), {
      cwd: programs.directory,
    })
    byHand.push(importer)
    await reached(importer, 'service', 'by hand')
  })
})
