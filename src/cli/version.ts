import { readFileSync } from 'node:fs'

/** The version of the package, from its package.json. */
export function version(): string {
  try {
    const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
    return String((JSON.parse(text) as { version?: unknown }).version)
  } catch {
    return 'unknown' // nothing else depends on it
  }
}
