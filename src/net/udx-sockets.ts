import { EventEmitter } from 'node:events'
import type UDX from 'udx-native'
import { interfacesRefused } from './interfaces.js'
import { nativeAddon } from './native.js'

/**
 * UDP sockets of udx-native. By itself it throws where the system does not list its interfaces: then it is told of none.
 * @throws PlexusError NATIVE_ADDON
 */
export function openUdx(): object {
  const udx = new (nativeAddon<typeof UDX>('udx-native'))()
  if (interfacesRefused() === undefined) return udx
  return Object.assign(udx, {
    networkInterfaces: () => [],
    watchNetworkInterfaces: () => new NoInterfaces(),
  })
}

/** What watches the interfaces, where there are none to be seen. */
class NoInterfaces extends EventEmitter {
  readonly interfaces: readonly never[] = []

  watch(): this {
    return this
  }

  unwatch(): this {
    return this
  }

  async destroy(): Promise<void> {
    this.emit('close')
  }

  [Symbol.iterator](): Iterator<never> {
    return this.interfaces[Symbol.iterator]()
  }
}
