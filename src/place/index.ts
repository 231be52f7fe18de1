export { lockDirectory } from './lock.js'
export { openStateFolder, stateFolder } from './state-directory.js'
export { openTemporaryDirectory, type TemporaryDirectory } from './temporary-directory.js'
