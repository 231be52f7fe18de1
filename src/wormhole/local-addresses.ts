import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { codeOf } from '../errors/index.js'

/** What `localhost` is on every machine, whatever its hosts file has (RFC 6761 section 6.3). */
const LOCALHOST = ['127.0.0.1', '::1'] as const

/** A host that is not there in one family is no mistake when it is there in the other. */
const ABSENT: ReadonlySet<unknown> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/** How often a port that is free in both families is looked for, when the system chooses it. */
const ATTEMPTS = 16

/**
 * The addresses of a host, in the order in which they are tried: both for `localhost`, as a service there may have either.
 * @throws the system's error if the name does not resolve
 */
export async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host]
  if (host === 'localhost' || host === 'localhost.') return LOCALHOST
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

/**
 * Opens something at every address of a host, on one port.
 * @param open binds one address and port; with port 0 the system chooses
 * @param portOf the port that it got
 * @throws what `open` does, when an address is there and cannot be had, or when none is there; then nothing is left open
 */
export async function openAtAll<T>(
  { host, port }: { readonly host: string; readonly port: number },
  open: (address: string, port: number) => Promise<T>,
  portOf: (opened: T) => number,
  close: (opened: T) => Promise<void>,
): Promise<T[]> {
  const addresses = await addressesOf(host)
  for (let attempt = 1; ; attempt++) {
    const opened: T[] = []
    let absent: unknown
    try {
      for (const address of addresses) {
        const [first] = opened
        try {
          opened.push(await open(address, first === undefined ? port : portOf(first)))
        } catch (thrown) {
          if (addresses.length === 1 || !ABSENT.has(codeOf(thrown))) throw thrown
          absent = thrown
        }
      }
      if (opened.length === 0) throw absent
      return opened
    } catch (thrown) {
      await Promise.all(opened.map(close))
      // the port that was free at the one address is taken at the other
      const chosen = port === 0 && opened.length > 0 && codeOf(thrown) === 'EADDRINUSE'
      if (!chosen || attempt === ATTEMPTS) throw thrown
    }
  }
}
