#!/usr/bin/env node
import { asPlexusError } from '../errors/index.js'

/** The entry of the program. Each command is loaded when it is called for: most of the start-up is loading code. */
async function main(argv: readonly string[]): Promise<number> {
  if (argv.length === 1 && argv[0] === '--version') {
    const { version } = await import('./version.js')
    process.stdout.write(`${version()}\n`)
    return 0
  }
  const { run } = await import('./commands.js')
  return await run(argv)
}

/** A failure is shown once, here: what happened, what to do, and the code for a script. */
function show(thrown: unknown): number {
  const error = asPlexusError(thrown)
  process.stderr.write(`plexus: ${error.message} ${error.advice} [${error.code}]\n`)
  if (error.code === 'INTERNAL' && error.cause instanceof Error)
    process.stderr.write(`${error.cause.stack}\n`)
  return error.exitCode
}

process.exitCode = await main(process.argv.slice(2)).catch(show)
