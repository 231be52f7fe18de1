import { requireSafe } from '../../files/index.js'
import { readConfig } from './config.js'
import { type Flag, type Given, PAIRING_FLAGS } from './flags.js'
import { type Source, Values } from './values.js'

type Variables = Readonly<Record<string, string | undefined>>

/**
 * Flags from the environment: `PLEXUS_OPT_APP_ID` is `--app-id`. An empty variable is none, but for a flag that may be
 * empty; a flag that may be repeated has a line for each value. Variables that name no flag are not looked at.
 */
export function environmentSource(variables: Variables, flags: readonly Flag[]): Source {
  const byName = new Map(flags.map((flag) => [flag.name, flag]))
  return (name) => {
    const flag = byName.get(name)
    if (flag === undefined) return undefined
    for (const each of [name, ...(flag.aliases ?? [])]) {
      const label = `PLEXUS_OPT_${each.toUpperCase().replaceAll('-', '_')}`
      const value = variables[label]
      if (value === undefined || (value === '' && !flag.empty)) continue
      return { value: flag.arity === 'many' ? value.split('\n').filter(Boolean) : value, label }
    }
    return undefined
  }
}

/**
 * The values of a command's flags: from the command line, else from the environment, else from the file of `--config`.
 * @throws PlexusError BAD_CONFIG, and BAD_FLAG if the file of --config cannot be read
 */
export function settled(given: Given, flags: readonly Flag[], variables: Variables = process.env): Values {
  const environment = environmentSource(variables, flags)
  const sources = [environment]
  const values = new Values(given, sources)
  if (flags.some(({ name }) => name === 'config')) {
    const file = values.path('config')
    if (file !== undefined) {
      sources.push(readConfig(file, PAIRING_FLAGS))
      // it can name the command that runs
      requireSafe(file, `The configuration ${file}`, 'BAD_CONFIG')
    }
  }
  return values
}
