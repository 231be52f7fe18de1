import { X509Certificate } from 'node:crypto'
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

/** What `npm root --global` prints, and the hooks there, for a PATH that begins with `directory`. */
export function installedPackage(directory: string): void {
  const modules = join(directory, 'modules')
  mkdirSync(join(modules, 'plexus'), { recursive: true })
  // what is executed must be where nobody else can write, and a clone may be anywhere
  cpSync(join(ROOT, 'hooks'), join(modules, 'plexus', 'hooks'), { recursive: true })
  writeFileSync(join(directory, 'npm'), `#!/bin/sh\necho '${modules}'\n`, { mode: 0o755 })
}

/**
 * A command as a person completes it: what `id import` reads is brought from the other machine, whose folder is beside that of
 * this one, and the question about the fingerprint is answered with the fingerprint.
 */
export function confirmed({ where, line }: ReadmeCommand, directory: string): string {
  const [, file] = /^plexus id import (\S+)$/.exec(line) ?? []
  if (file === undefined) return line
  const other = where === 'server' ? 'laptop' : 'server'
  const from = join(directory, other, file)
  copyFileSync(from, join(directory, where, file))
  return `${line} --fingerprint=${new X509Certificate(readFileSync(from)).fingerprint256}`
}
