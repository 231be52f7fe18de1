import { type Logger, silent } from '../net/index.js'

/** What a program may log to that has no fields, such as `console`. */
export interface PlainLog {
  debug(...words: unknown[]): void
  info(...words: unknown[]): void
  warn(...words: unknown[]): void
  error(...words: unknown[]): void
}

/** A log as this program writes it: pino and the like as they are, `console` and the like with the sentence first. */
export function loggerOf(log: Logger | PlainLog | undefined): Logger {
  if (log === undefined) return silent
  return 'child' in log && typeof log.child === 'function' ? log : plain(log as PlainLog, {})
}

function plain(log: PlainLog, common: object): Logger {
  const line = (level: keyof PlainLog) => (fields: object, message: string) => {
    const all = { ...common, ...fields }
    if (Object.keys(all).length > 0) log[level](message, all)
    else log[level](message)
  }
  return {
    // `console.trace` would print where it was called from
    trace: line('debug'),
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    child: (fields) => plain(log, { ...common, ...fields }),
  }
}
