import type { ImapFlow } from 'imapflow'

/** What the library has inside for each command. */
interface Inside {
  commands: ReadonlyMap<string, (inside: Inside, ...args: unknown[]) => Promise<unknown>>
  readonly capabilities: ReadonlyMap<string, unknown>
  readonly folders: Map<string, unknown>
  exec(
    command: string,
    args: false,
    options: { untagged: Record<string, (untagged: { attributes?: unknown[] }) => Promise<void>> },
  ): Promise<{ next(): void }>
  namespaces: unknown
  namespace: unknown
}

/**
 * Has a client bear every answer to NAMESPACE (RFC 2342). imapflow 2.1 waits for ever after one without a namespace of the user
 * (`* NAMESPACE NIL NIL NIL`), after an OK without any, and without a prefix no folder can be named wrongly.
 */
export function tolerant(client: ImapFlow): ImapFlow {
  const inside = client as unknown as Inside
  const original = inside.commands.get('NAMESPACE')
  if (!original) return client
  const namespace = async (connection: Inside): Promise<unknown> => {
    if (!connection.capabilities.has('NAMESPACE')) return original(connection)
    let personal: { prefix: string; delimiter: string | null } = { prefix: '', delimiter: '/' }
    try {
      const response = await connection.exec('NAMESPACE', false, {
        untagged: {
          NAMESPACE: async ({ attributes }) => {
            personal = firstOf(attributes?.[0]) ?? personal
          },
        },
      })
      response.next()
    } catch (thrown) {
      // as the library: it looks whether an Exchange has refused the login only now
      const { responseStatus, responseText } = thrown as { responseStatus?: unknown; responseText?: unknown }
      if (responseStatus === undefined) throw thrown
      return { error: true, status: responseStatus, text: String(responseText ?? '') }
    }
    connection.namespaces = { personal: [personal], other: false, shared: false }
    connection.namespace = personal
    return personal
  }
  // it asks for a folder by LIST before it opens it; that there is an INBOX needs no telling (RFC 9051, 5.1)
  inside.folders.set('INBOX', { path: 'INBOX' })
  inside.commands = new Map(inside.commands).set('NAMESPACE', namespace)
  return client
}

/** The first of a list of pairs of prefix and delimiter, each of which may be NIL. */
function firstOf(list: unknown): { prefix: string; delimiter: string | null } | undefined {
  const [pair] = Array.isArray(list) ? list : []
  if (!Array.isArray(pair)) return undefined
  const [prefix, delimiter] = pair.map((each: { value?: unknown } | null) => each?.value)
  if (typeof prefix !== 'string') return undefined
  const sign = typeof delimiter === 'string' ? delimiter : null
  return { prefix: sign && prefix && !prefix.endsWith(sign) ? prefix + sign : prefix, delimiter: sign }
}
