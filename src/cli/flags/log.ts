import type { Logger } from '../../net/index.js'
import {
  LOG_FORMATS,
  LOG_LEVELS,
  type LogLevel,
  type LogOptions,
  openLog,
  tryLogFile,
} from '../output/log.js'
import type { Values } from './values.js'

/** The log that the flags ask for. @param level without `--log-level` and `--verbose` */
export function logOf(values: Values, level: LogLevel = 'info'): Logger {
  return openLog(logSettings(values, level))
}

/** What the flags say of the log, which stays closed. @throws PlexusError BAD_FLAG */
export function logSettings(values: Values, level: LogLevel): LogOptions {
  return {
    level: values.choice('log-level', LOG_LEVELS, values.switch('verbose') ? 'debug' : level),
    format: values.choice('log-format', LOG_FORMATS, 'text'),
    file: values.path('log-file'),
  }
}

/** The file that the log would go to, found to be one that can be written. @throws PlexusError BAD_FLAG */
export function logFileOf(values: Values): string | undefined {
  const file = values.path('log-file')
  if (file !== undefined) tryLogFile(file)
  return file
}
