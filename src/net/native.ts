import { createRequire } from 'node:module'

const load = createRequire(import.meta.url)

/**
 * A package with machine code, loaded when it is first needed: where it does not load, everything else still works.
 * @throws what node throws; `asPlexusError` makes NATIVE_ADDON of it
 */
export function nativeAddon<T>(name: 'udx-native' | 'sodium-native'): T {
  return load(name) as T
}
