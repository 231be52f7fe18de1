import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './readme.js'

const base = mkdtempSync(join(tmpdir(), 'plexus-hooks-'))
process.on('exit', () => rmSync(base, { recursive: true, force: true }))

/**
 * The hooks, in a folder where nobody else can replace them: a clone may lie anywhere, and plexus runs nothing from a place
 * that others can write. Removed with the process.
 */
export const HOOKS = join(base, 'hooks')

cpSync(join(ROOT, 'hooks'), HOOKS, { recursive: true })
// the wormhole of a clone that is not installed is beside its hooks
symlinkSync(join(ROOT, 'dist'), join(base, 'dist'))
