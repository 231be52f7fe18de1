export { makeDirectories } from './directory.js'
export { type Output, openOutput, type Place, placeAt, tryOutput, whyUnwritable } from './output.js'
export { checkProgram, findProgram } from './program.js'
export {
  membersOf,
  octal,
  requireSafe,
  type Unsafe,
  unsafeError,
  unsafePath,
  unsafePathSoon,
} from './safe-path.js'
export { type Exposed, exposure, type Ownership } from './secret.js'
export { OpenFileSystem, replaceFile, writeNewFile } from './whole-file.js'
