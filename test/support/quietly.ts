/**
 * Runs something that prints, in this process, and keeps what it prints. What the test runner has to say goes on: that is bytes.
 */
export async function quietly<T>(
  run: () => Promise<T>,
): Promise<{ readonly result: T; readonly said: string }> {
  const streams = [process.stdout, process.stderr]
  const writes = streams.map((stream) => stream.write)
  let said = ''
  for (const [index, stream] of streams.entries()) {
    const write = (...[data, ...more]: Parameters<typeof stream.write>) => {
      if (typeof data !== 'string') return (writes[index] as typeof stream.write).call(stream, data, ...more)
      said += data
      return true
    }
    Object.assign(stream, { write })
  }
  try {
    const result = await run()
    return { result, said }
  } finally {
    for (const [index, stream] of streams.entries()) Object.assign(stream, { write: writes[index] })
  }
}
