import { PlexusError } from '../errors/index.js'

/** The flags that messages and advice speak of, as the options of the library are called. */
const OPTIONS: Readonly<Record<string, string>> = {
  '--accept': 'accept()',
  '--app-id': '`app`',
  '--app-repo': '`repository`',
  '--candidates': '`candidates`',
  '--host-info': '`host`',
  '--log-level=trace': '`trace`',
  '--no-search': '`search: false`',
  '--peer-info': '`peer`',
  '--punch-hops': '`hops`',
  '--rendezvous': '`rendezvous`',
  '--state-dir': '`stateDirectory`',
  '--stun-client': '`bind`',
  '--stun-server': '`stunServers`',
  '--timeout': '`timeout`',
}

/** What belongs to a rendezvous has its name in `rendezvousOptions`. */
const OF_A_RENDEZVOUS = /^--(dht|email|exec|dir|mqtt|opendht|node)-/

/** A sentence for a program: with options in it where the command line has flags. */
export function inOptions(sentence: string): string {
  return sentence.replace(/--[a-z][a-z-]*[a-z](=trace)?/g, (flag) => {
    const known = OPTIONS[flag]
    if (known !== undefined) return known
    const name = flag.slice(2)
    return OF_A_RENDEZVOUS.test(flag) ? `rendezvousOptions['${name}']` : `\`${name}\``
  })
}

/** The same failure in the words of the library. What is no failure of plexus, such as the reason of a signal, passes through. */
export function forPrograms(thrown: unknown): unknown {
  if (!(thrown instanceof PlexusError)) return thrown
  const [message, advice] = [inOptions(thrown.message), inOptions(thrown.advice)]
  if (message === thrown.message && advice === thrown.advice) return thrown
  return new PlexusError(thrown.code, message, { advice, cause: thrown })
}

/** What a function of the library does, failing in the words of the library. */
export async function spoken<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    throw forPrograms(thrown)
  }
}
