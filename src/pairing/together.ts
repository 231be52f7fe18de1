import type { PortMapping } from '../portmap/index.js'

/**
 * A mapping and a pinhole of one port as one: let go of together. Where there is an outside, and when it is known, is the
 * mapping's affair: what a pinhole lets in is offered already.
 */
export function together(
  mapping: PortMapping | undefined,
  pinhole: PortMapping | undefined,
): PortMapping | undefined {
  if (!pinhole) return mapping
  return {
    get external() {
      return mapping?.external
    },
    asked: mapping?.asked ?? Promise.resolve(),
    onExternal: (listener) => mapping?.onExternal(listener) ?? (() => {}),
    async release() {
      await Promise.all([mapping?.release(), pinhole.release()])
    },
    abandon() {
      mapping?.abandon()
      pinhole.abandon()
    },
  }
}
