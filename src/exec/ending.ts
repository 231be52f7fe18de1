import { PlexusError } from '../errors/index.js'

/** How a command can be asked to end. SIGHUP is not among them: daemons take it as a wish to start anew. */
export type EndingSignal = 'SIGTERM' | 'SIGINT'

/** Why everything is aborted when the program itself was sent a signal: commands that run are sent the same one. */
export class Ending extends PlexusError {
  readonly by: EndingSignal

  /** @param received what the program was sent */
  constructor(received: NodeJS.Signals) {
    super('CANCELLED', `Stopped by ${received}.`)
    this.by = received === 'SIGINT' ? 'SIGINT' : 'SIGTERM'
  }
}
