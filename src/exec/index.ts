export { keyless, logError, requireDirectory, type StartOptions, start } from './child.js'
export {
  type Command,
  type CommandSpec,
  commandFor,
  DEFAULT_EXEC_ARGS,
  type Language,
  parseCommand,
  wantsKey,
} from './command.js'
export { Ending, type EndingSignal } from './ending.js'
export { commandEnvironment, type Environment } from './environment.js'
export { type Launch, REPEAT_POLICIES, type RepeatPolicy, Roster } from './roster.js'
export { type Child, type Exit, exitStatus, type Running, STOP_GRACE } from './supervision.js'
export { type Identity, type Role, WILDCARDS, type Wildcards } from './wildcards.js'
export { splitWords } from './words.js'
