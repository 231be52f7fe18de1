import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A file of this repository, as text. */
export function repositoryFile(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8')
}

/** The example of a document whose first or second line names this file, as a reader would copy it. */
export function example(document: string, name: string): string {
  const blocks = repositoryFile(document).matchAll(/^```(?:sh|js)\n([\s\S]*?)^```$/gm)
  for (const [, block] of blocks) {
    if (block?.split('\n', 2).some((line) => line.includes(`${name}:`))) return block
  }
  throw new Error(`${document} has no example ${name}`)
}

/** The rows of the tables of a document that have this many columns: the text of each cell. */
export function tableRows(document: string, columns: number): string[][] {
  return repositoryFile(document)
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^[|: -]+$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
    .filter((cells) => cells.length === columns)
}
