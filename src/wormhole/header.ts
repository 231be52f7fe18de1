/**
 * What stands at the head of every stream and flow: a byte for the version, a byte for what it carries, and the name of the
 * service in UTF-8. An empty name means the only service that there is. `names` asks for the names of the services that the
 * peer may use; a side that does not know the question refuses the stream.
 */
export interface Header {
  readonly carries: 'stream' | 'datagrams' | 'names'
  readonly name: string
}

const VERSION = 1
const CARRIES = ['stream', 'datagrams', 'names'] as const

/** The longest name, in bytes: with the two before it far below the 512 that a tunnel takes. */
const LONGEST_NAME = 200

/** @throws RangeError for a name that is too long: whoever made it has checked it */
export function encodeHeader({ carries, name }: Header): Buffer {
  const text = Buffer.from(name)
  if (text.length > LONGEST_NAME) throw new RangeError('the name of a service is too long')
  return Buffer.concat([Buffer.of(VERSION, CARRIES.indexOf(carries)), text])
}

/** What the peer wants; undefined for what this version does not understand. */
export function decodeHeader(bytes: Uint8Array): Header | undefined {
  const [version, kind] = bytes
  const carries = CARRIES[kind ?? CARRIES.length]
  if (version !== VERSION || carries === undefined || bytes.length > LONGEST_NAME + 2) return undefined
  try {
    return { carries, name: new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(2)) }
  } catch {
    return undefined
  }
}
