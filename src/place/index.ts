export { lockDirectory } from './lock.js'
export { openStateFolder, stateFolder } from './state-directory.js'
