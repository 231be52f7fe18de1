/**
 * The log, as pino takes it: fields first, then the sentence. A pino logger is one; a test may pass its own.
 * `info` tells the story of a pairing, `debug` its reasons, `trace` every datagram. Secrets go into none of them.
 */
export interface Logger {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  /** A logger that adds `fields` to every line, for example the short session id. */
  child(fields: object): Logger
}

const nothing = () => {}

/** A logger that drops everything. */
export const silent: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silent,
}
