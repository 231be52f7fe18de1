import { WILDCARDS, type Wildcards } from './wildcards.js'

/** The environment of a process, as node takes it. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Flags of this program given as variables may hold passwords: they are its own. */
const OWN_FLAGS = /^PLEXUS_OPT_/

/**
 * The environment of a command: that of its parent without `PLEXUS_OPT_*`, every wildcard as a variable
 * (`%peerip%` is PLEXUS_PEER_IP), and PLEXUS_ROLE, PLEXUS_APP and PLEXUS_SESSION.
 * Where there is no key, there is no PLEXUS_KEY and no PLEXUS_KEY_FILE either, not even that of the parent.
 * @param keyFile the path in PLEXUS_KEY_FILE
 */
export function commandEnvironment(parent: Environment, values: Wildcards, keyFile: string): Environment {
  const inherited = Object.entries(parent).filter(([name]) => !OWN_FLAGS.test(name) && !isKey(name))
  const wildcards = Object.values(WILDCARDS)
    .filter(({ variable }) => values.key !== undefined || !isKey(variable))
    .map(({ variable, value }) => [variable, value(values, keyFile)])
  return {
    ...Object.fromEntries(inherited),
    ...Object.fromEntries(wildcards),
    PLEXUS_ROLE: values.role,
    PLEXUS_APP: values.app,
    PLEXUS_SESSION: values.session,
  }
}

function isKey(variable: string): boolean {
  const { key, keyfile } = WILDCARDS
  return variable === key.variable || variable === keyfile.variable
}
