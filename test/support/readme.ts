import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The root of the project. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** A command as the README has it. */
export interface ReadmeCommand {
  /** `anywhere` where the README does not say on which machine. */
  readonly where: 'server' | 'laptop' | 'anywhere'
  readonly line: string
}

/** The commands in the `sh` blocks of the README, or of another document, in order, without their comments. */
export function readmeCommands(document = 'README.md'): ReadmeCommand[] {
  const text = readFileSync(`${ROOT}${document}`, 'utf8')
  return [...text.matchAll(/^ *```sh\n([\s\S]*?)\n *```$/gm)].flatMap(([, block = '']) => {
    const where = /^ *# on the (server|laptop)$/m.exec(block)?.[1] ?? 'anywhere'
    const lines = block.split('\n').map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    return lines
      .filter((line) => line !== '')
      .map((line) => ({ where: where as ReadmeCommand['where'], line }))
  })
}

/** A `plexus` for a PATH: the built program, with more flags behind those of a pairing. */
export function plexusScript(flags: readonly string[]): string {
  const program = `${ROOT}dist/bin/cli/main.js`
  return `#!/bin/sh
case $1 in
id|wormhole) exec '${process.execPath}' '${program}' "$@" ;;
*) exec '${process.execPath}' '${program}' "$@" ${flags.join(' ')} ;;
esac
`
}
