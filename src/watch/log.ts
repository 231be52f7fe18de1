import { OURS, watch } from './channels.js'
import { type Logged, WORDS } from './words.js'

/** Writes what happens into the log of who it happened to: each event once, in one place's words. */
function logged<N extends Logged>(name: N): void {
  watch(name, ({ event, log, by }) => {
    if (by !== OURS) return
    const line = WORDS[name](event)
    if (line) log[line[0]](line[1], line[2])
  })
}

logged('plexus:pairing')
logged('plexus:path')
logged('plexus:tunnel')
