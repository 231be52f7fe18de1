import { isatty } from 'node:tty'

/** The signals that ask the program to end. */
const ENDING = ['SIGINT', 'SIGTERM'] as const

/**
 * Calls back for every signal that asks the program to end, until the returned function is called. A terminal that closes
 * sends SIGHUP, which ends what it started. To a program without a terminal SIGHUP means that something is to be read anew:
 * nothing has to be here, and it goes on.
 * @param onhangup is called for that
 */
export function onEndingSignal(
  callback: (signal: NodeJS.Signals) => void,
  onhangup: () => void = () => {},
): () => void {
  const terminal = [0, 1, 2].some((descriptor) => isatty(descriptor))
  const hangup = terminal ? callback : onhangup
  for (const signal of ENDING) process.on(signal, callback)
  process.on('SIGHUP', hangup)
  return () => {
    for (const signal of ENDING) process.off(signal, callback)
    process.off('SIGHUP', hangup)
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
