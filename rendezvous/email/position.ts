import { readFile, rename, writeFile } from 'node:fs/promises'

/** How far a folder was looked through: no mail of ours that matters lies below `next`. */
export interface Position {
  /** The folder's UIDVALIDITY, as decimal digits: with another one UIDs mean nothing (RFC 9051, 2.3.1.1). */
  readonly validity: string
  /** The lowest UID that is to be looked at. */
  readonly next: number
}

/** Reads a position; one that is missing or damaged is none. */
export async function readPosition(path: string): Promise<Position | undefined> {
  try {
    const { validity, next } = JSON.parse(await readFile(path, 'utf8')) as {
      validity?: unknown
      next?: unknown
    }
    if (typeof validity !== 'string' || !/^\d{1,10}$/.test(validity)) return undefined
    if (typeof next !== 'number' || !Number.isInteger(next) || next < 1) return undefined
    return { validity, next }
  } catch {
    return undefined
  }
}

/** Writes a position, whole or not at all. @param unique part of the temporary name */
export async function writePosition(path: string, position: Position, unique: string): Promise<void> {
  const temporary = `${path}.${unique}.tmp`
  await writeFile(temporary, JSON.stringify(position), { mode: 0o600 })
  await rename(temporary, path)
}
