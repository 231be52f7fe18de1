#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { asPlexusError } from '../errors/index.js'

/** The entry of the program. Each command is loaded when it is called for: most of the start-up is loading code. */
async function main(argv: readonly string[]): Promise<number> {
  if (argv.length === 1 && argv[0] === '--version') {
    const { version } = await import('./version.js')
    process.stdout.write(`${version()}\n`)
    return 0
  }
  if (argv.length === 1 && argv[0] === '--help') {
    const help = readHelp()
    if (help !== undefined) {
      process.stdout.write(help)
      return 0
    }
  }
  const { run } = await import('./commands/index.js')
  return await run(argv)
}

/** The text that `--help` gave when the program was built: to lay it out anew takes longer than all the rest. */
function readHelp(): string | undefined {
  try {
    return readFileSync(new URL('./help.txt', import.meta.url), 'utf8')
  } catch {
    return undefined // not bundled
  }
}

/** A failure is shown once, here, in one line: what happened, what to do, and the code for a script. */
function show(thrown: unknown): number {
  const error = asPlexusError(thrown)
  const line = `plexus: ${error.message} ${error.advice} [${error.code}]`
  process.stderr.write(`${line.replace(/\p{C}/gu, ' ')}\n`)
  if (error.code === 'INTERNAL' && error.cause instanceof Error)
    process.stderr.write(`${error.cause.stack}\n`)
  return error.exitCode
}

/**
 * Has the young generation of objects stay as small as it begins, 1 MB: it would grow to 32, and never become smaller, and a
 * megabyte more of buffers that nobody needs would lie in memory until it is full. Collections are more frequent and shorter.
 */
function sparing(): void {
  // V8 promises no flag for ever, and complains aloud about one that it does not know
  const known = [20, 22, 24]
  if (known.includes(Number(process.versions.node.split('.')[0])))
    setFlagsFromString('--semi-space-growth-factor=1')
}

/** By its other name the program is one of its commands: Debian has another wormhole. */
const ALIASES: Readonly<Record<string, readonly string[]>> = { 'plexus-wormhole': ['wormhole'] }

// without a listener it would open node's debugger to every user who may send a signal
process.on('SIGUSR1', () => {})
// and this one would end a program that forwards nothing, and so has nothing to report
process.on('SIGUSR2', () => {})
sparing()
const command = ALIASES[basename(process.argv[1] ?? '')] ?? []
process.exitCode = await main([...command, ...process.argv.slice(2)]).catch(show)
