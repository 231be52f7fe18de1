/** The signals that ask the program to end. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Calls back for every signal that asks the program to end, until the returned function is called. */
export function onEndingSignal(callback: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of ENDING) process.on(signal, callback)
  return () => {
    for (const signal of ENDING) process.off(signal, callback)
  }
}

/** Resolves with the first signal that asks the program to end. */
export function untilSignalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const stop = onEndingSignal((signal) => {
      stop()
      resolve(signal)
    })
  })
}
