import { connect } from 'node:net'
import { codeWord } from '../errors/index.js'

/** Whether somebody listens at a unix socket: `open`, or the code of what came instead; of one that was left behind ECONNREFUSED. */
export function knock(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve('open')
    })
    socket.once('error', (error) => resolve(codeWord(error)))
  })
}
