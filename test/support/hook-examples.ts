import { splitWords } from '../../src/exec/index.js'
import { repositoryFile } from './examples.js'
import { HOOKS } from './hooks.js'

/** A command line of docs/hooks.md. */
export interface HookExample {
  /** The name of the hook. */
  readonly hook: string
  readonly role: 'accepter' | 'inviter'
  /** `--exec-command` and `--exec-args`, with the hook by its path in this repository. */
  readonly flags: readonly string[]
}

/** Every command line of docs/hooks.md that starts a hook, in order. */
export function hookExamples(): HookExample[] {
  const blocks = repositoryFile('docs/hooks.md').matchAll(/^```sh\n([\s\S]*?)^```$/gm)
  const lines = [...blocks]
    .flatMap(([, block = '']) => block.split('\n'))
    .filter((line) => line.startsWith('plexus '))
  return lines.map((line) => {
    const words = splitWords(line.replace('…', ''))
    const hook = /--exec-command=hooks\/(\S+)/.exec(line)?.[1] ?? ''
    return {
      hook,
      role: words.includes('--accept') ? 'accepter' : 'inviter',
      flags: words
        .filter((word) => word.startsWith('--exec-'))
        .map((word) => word.replace('=hooks/', `=${HOOKS}/`)),
    }
  })
}

/** The flags of both sides in the nth example of a hook, from 0. */
export function hookExample(hook: string, nth = 0): Readonly<Record<HookExample['role'], readonly string[]>> {
  const of = (role: HookExample['role']) =>
    hookExamples().filter((example) => example.hook === hook && example.role === role)[nth]?.flags
  const [accepter, inviter] = [of('accepter'), of('inviter')]
  if (!accepter || !inviter) throw new Error(`docs/hooks.md has no example ${nth} of ${hook}`)
  return { accepter, inviter }
}
