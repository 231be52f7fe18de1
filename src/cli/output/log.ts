import { writeSync } from 'node:fs'
import { pino } from 'pino'
import { PlexusError } from '../../errors/index.js'
import { openOutput, tryOutput, whyUnwritable } from '../../files/index.js'
import type { Logger } from '../../net/index.js'

/** The levels of the original, most severe first. */
export const LOG_LEVELS = ['fatal', 'error', 'warning', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const LOG_FORMATS = ['text', 'json'] as const

export interface LogOptions {
  readonly level: LogLevel
  readonly format: (typeof LOG_FORMATS)[number]
  /** A file to append to; `%p` in it is the process id. Without it the log goes to stderr. */
  readonly file: string | undefined
}

/**
 * Opens the log: one line an event, as text for a person or as JSON for a program.
 * @throws PlexusError BAD_FLAG if the file cannot be opened
 */
export function openLog(options: LogOptions): Logger {
  const fd = options.file === undefined ? 2 : openLogFile(filled(options.file))
  const level = options.level === 'warning' ? 'warn' : options.level
  const settings = { level, base: null, formatters: { level: (label: string) => ({ level: label }) } }
  const form = options.format === 'json' ? (line: string) => line : textOf
  return pino(settings, { write: (line: string) => write(fd, form(line)) })
}

/** Finds out whether `openLog` can open the file, and makes none. @throws PlexusError BAD_FLAG */
export function tryLogFile(file: string): void {
  writable(filled(file), tryOutput)
}

function filled(file: string): string {
  return file.replaceAll('%p', String(process.pid))
}

function openLogFile(path: string): number {
  const output = writable(path, openOutput)
  process.on('exit', () => output.close())
  return output.fd
}

function writable<T>(path: string, use: (path: string) => T): T {
  try {
    return use(path)
  } catch (cause) {
    throw new PlexusError('BAD_FLAG', `The log file of --log-file: ${whyUnwritable(path, cause)}.`, {
      advice: 'Give --log-file a file in a directory that this user may write.',
      cause,
    })
  }
}

/** A log that cannot be written (a full disk, a closed pipe) must not stop what it tells about. */
function write(fd: number, text: string): void {
  try {
    writeSync(fd, text)
  } catch {
    // nowhere left to say it
  }
}

interface Line {
  level: string
  time: number
  msg: string
  session?: string
  err?: { stack?: string; message?: string }
  [field: string]: unknown
}

function textOf(json: string): string {
  const { level, time, msg, session, err, ...fields } = JSON.parse(json) as Line
  const when = new Date(time).toISOString()
  const who = session === undefined ? '' : `[${session}] `
  const more = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const why =
    err === undefined
      ? ''
      : `: ${oneLine(err.message ?? '')}${level === 'debug' || level === 'trace' ? `\n${err.stack ?? ''}` : ''}`
  const label = level === 'warn' ? 'warning' : level
  return `${when} ${label.padEnd(7)} ${who}${oneLine(msg)}${more.map(oneLine).join('')}${why}\n`
}

/** What a peer or a server chose to say cannot forge a second line, nor speak to the terminal. */
function oneLine(text: string): string {
  return text.replace(/\p{C}/gu, ' ')
}
