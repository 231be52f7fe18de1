import { Governor } from '../net/index.js'

/** The one governor of this process: the command line and the library pass it on as a value. */
export const systemGovernor = new Governor()
