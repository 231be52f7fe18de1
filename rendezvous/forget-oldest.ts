/** Forgets the oldest of what is remembered where there is more of it than so much; for after each that is added. */
export function forgetOldest<Key>(
  remembered: { readonly size: number; keys(): Iterable<Key>; delete(key: Key): boolean },
  most: number,
): void {
  if (remembered.size <= most) return
  for (const oldest of remembered.keys()) {
    remembered.delete(oldest)
    return
  }
}
