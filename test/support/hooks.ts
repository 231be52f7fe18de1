import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './readme.js'

/**
 * The hooks, in a folder where nobody else can replace them: a clone may lie anywhere, and plexus runs nothing from a place
 * that others can write. Removed with the process.
 */
export const HOOKS = mkdtempSync(join(tmpdir(), 'plexus-hooks-'))

cpSync(join(ROOT, 'hooks'), HOOKS, { recursive: true })
process.on('exit', () => rmSync(HOOKS, { recursive: true, force: true }))
