import { createRequire } from 'node:module'
import { asPlexusError } from '../errors/index.js'

const load = createRequire(import.meta.url)

/**
 * A package with machine code, loaded when it is first needed: where it does not load, everything else still works.
 * @throws PlexusError NATIVE_ADDON
 */
export function nativeAddon<T>(name: 'udx-native' | 'sodium-native'): T {
  try {
    return load(name) as T
  } catch (thrown) {
    throw asPlexusError(thrown)
  }
}
