import { readFileSync } from 'node:fs'

/** What a heap snapshot has of one kind of object. */
export interface Held {
  readonly kind: string
  readonly count: number
  readonly bytes: number
}

interface Snapshot {
  readonly snapshot: { readonly meta: { node_fields: string[]; node_types: [string[], ...unknown[]] } }
  readonly nodes: number[]
  readonly strings: string[]
}

/** How many there are of each kind of object, by the name of their constructor, and their own size. */
function count(file: string): Map<string, { count: number; bytes: number }> {
  const { snapshot, nodes, strings } = JSON.parse(readFileSync(file, 'utf8')) as Snapshot
  const { node_fields: fields, node_types: types } = snapshot.meta
  const [type, name, size] = ['type', 'name', 'self_size'].map((field) => fields.indexOf(field)) as [
    number,
    number,
    number,
  ]
  const found = new Map<string, { count: number; bytes: number }>()
  for (let at = 0; at < nodes.length; at += fields.length) {
    const what = types[0][nodes[at + type] ?? 0] ?? ''
    const text = strings[nodes[at + name] ?? 0] ?? ''
    // strings and code are told apart by what they are, not by what they say
    const kind = what === 'object' || what === 'closure' || what === 'native' ? `${what} ${text}` : what
    const known = found.get(kind) ?? { count: 0, bytes: 0 }
    found.set(kind, { count: known.count + 1, bytes: known.bytes + (nodes[at + size] ?? 0) })
  }
  return found
}

/** What there is more of in the second snapshot, what takes most room first. */
export function growth(first: string, second: string): Held[] {
  const before = count(first)
  return [...count(second)]
    .map(([kind, now]) => {
      const then = before.get(kind) ?? { count: 0, bytes: 0 }
      return { kind, count: now.count - then.count, bytes: now.bytes - then.bytes }
    })
    .filter(({ count, bytes }) => count > 0 || bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
}
