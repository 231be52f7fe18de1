export { runAccepter } from './accepter.js'
export { runInviter } from './inviter.js'
export type { AccepterSettings, DaemonSettings } from './settings.js'
