import { fstatSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Near } from '../../wormhole/index.js'

const STDOUT = 1

/** Standard input and output of this process as the near end of a connection. Once, and for nothing else. */
export function standardStreams(): Near {
  const readable = process.stdin
  const writable = output()
  return {
    readable,
    writable,
    abort: () => {
      readable.destroy()
      writable.destroy()
    },
  }
}

/** Standard output that really ends, and waits for a slow reader: process.stdout can do neither on a pipe. */
function output(): Writable {
  const kind = fstatSync(STDOUT)
  if (!kind.isFIFO() && !kind.isSocket()) return process.stdout
  return new Socket({ fd: STDOUT, readable: false, writable: true })
}
