/** What a process has only so much of: counts, but for memory, which is in bytes. */
export const RESOURCES = ['tunnels', 'descriptors', 'ports', 'memory'] as const
export type Resource = (typeof RESOURCES)[number]

/** So much of each. */
export type Amounts = Readonly<Record<Resource, number>>

/** So much of some. */
export type Needs = Readonly<Partial<Amounts>>

/** What each is called in a sentence. */
export const RESOURCE_WORDS: Readonly<Record<Resource, string>> = {
  tunnels: 'tunnels',
  descriptors: 'file descriptors',
  ports: 'local ports',
  memory: 'memory',
}
