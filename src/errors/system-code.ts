/** The code of what node or the system threw, such as ENOENT; undefined if it has none. */
export function codeOf(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null ? (thrown as { code?: unknown }).code : undefined
}

/** The same as a word for a sentence; where there is no code, what was thrown. */
export function codeWord(thrown: unknown): string {
  return String(codeOf(thrown) ?? thrown)
}
