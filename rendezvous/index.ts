import { createRequire, isBuiltin } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { asPlexusError, codeOf, PlexusError } from '../src/errors/index.js'
import { requireSafe } from '../src/files/index.js'
import type { OpenRendezvous, Rendezvous, RendezvousContext } from './interface.js'
import { SeveralRendezvous } from './several.js'

export type {
  Envelope,
  Letter,
  LetterHead,
  Letters,
  Mailbox,
  OpenRendezvous,
  Rendezvous,
  RendezvousContext,
} from './interface.js'

/** The rendezvous that come along, by the scheme of their URL; each is loaded when it is first asked for. */
const SCHEMES: Readonly<Record<string, () => Promise<{ open: OpenRendezvous }>>> = {
  'dht:': () => import('./dht/index.js'),
  'email:': () => import('./email/index.js'),
  'dir:': () => import('./dir.js'),
  'exec:': () => import('./exec/index.js'),
}

/** The name of an npm package, with or without a scope. */
const PACKAGE = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/

export interface OpenOptions {
  /** What relative paths are relative to. */
  readonly cwd?: string
  /** Is given each rendezvous once it is open, and gives what is used in its place. */
  readonly each?: (rendezvous: Rendezvous) => Rendezvous
}

/**
 * Opens what `--rendezvous` names; several run side by side as one. Each text is one of
 *
 * - a URL with a scheme that comes along: `dht:`, `dht:host:port`, `email:`, `dir:/path`, `exec:command`;
 * - the file of a module: `./path`, `../path` or `/path`, relative to `cwd`, with `?options` if it takes any; the
 *   module gets the `file:` URL with them;
 * - the name of an installed package, `name`, `name?options` or `name:rest`; the module gets `package:name?options`,
 *   or the URL `name:rest` as it stands. It is looked for beside this program first, then from `cwd`.
 *
 * A module exports `open`, or a default, of the type OpenRendezvous.
 * @throws PlexusError BAD_RENDEZVOUS, and what the rendezvous itself throws
 */
export async function openRendezvous(
  urls: readonly string[],
  context: RendezvousContext,
  { cwd = process.cwd(), each }: OpenOptions = {},
): Promise<Rendezvous> {
  const distinct = [...new Set(urls)]
  if (distinct.length === 0) throw new PlexusError('BAD_RENDEZVOUS', 'No rendezvous is given.')
  const opened = await Promise.allSettled(distinct.map((text) => openOne(text, context, cwd)))
  const open = opened.flatMap((result) => {
    if (result.status !== 'fulfilled') return []
    return [each ? each(result.value) : result.value]
  })
  const failed = opened.find((result) => result.status === 'rejected')
  if (failed) {
    await Promise.allSettled(open.map((rendezvous) => rendezvous.close()))
    throw failed.reason
  }
  const [first] = open
  return first && open.length === 1 ? first : new SeveralRendezvous(open, context)
}

async function openOne(text: string, context: RendezvousContext, cwd: string): Promise<Rendezvous> {
  const { url, load } = locate(text, cwd)
  const module = await load()
  const { open, default: alternative } = module as { open?: unknown; default?: unknown }
  const make = typeof open === 'function' ? open : alternative
  if (typeof make !== 'function')
    throw new PlexusError('BAD_RENDEZVOUS', `'${text}' is a module, but exports no function 'open'.`)
  try {
    return await (make as OpenRendezvous)(url, context)
  } catch (cause) {
    throw asPlexusError(cause, 'BAD_RENDEZVOUS')
  }
}

function locate(text: string, cwd: string): { url: URL; load: () => Promise<unknown> } {
  if (text.startsWith('./') || text.startsWith('../') || isAbsolute(text)) {
    const [path = '', ...options] = text.split('?')
    const file = pathToFileURL(resolve(cwd, path))
    const url = new URL(file)
    url.search = options.join('?')
    return { url, load: () => imported(text, () => importFile(text, file)) }
  }
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(text)?.[0].toLowerCase()
  const known = scheme ? SCHEMES[scheme] : undefined
  const [name = '', ...options] = scheme ? [scheme.slice(0, -1)] : text.split('?')
  const url = parsed(scheme ? text : `package:${name}${options.length > 0 ? `?${options.join('?')}` : ''}`)
  if (known && url) return { url, load: known }
  if (known || !url || !PACKAGE.test(name) || isBuiltin(name))
    throw new PlexusError('BAD_RENDEZVOUS', `'${text}' is not a rendezvous.`)
  return { url, load: () => imported(text, () => importPackage(name, cwd)) }
}

function parsed(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

async function importPackage(name: string, cwd: string): Promise<unknown> {
  try {
    return await importFile(name, new URL(import.meta.resolve(name)))
  } catch (cause) {
    if (codeOf(cause) !== 'ERR_MODULE_NOT_FOUND') throw cause
    const found = createRequire(join(cwd, 'package.json')).resolve(name)
    return await importFile(name, pathToFileURL(found))
  }
}

/** What is imported runs as this program: others must not decide what it is. @throws PlexusError BAD_RENDEZVOUS */
async function importFile(text: string, file: URL): Promise<unknown> {
  requireSafe(fileURLToPath(file), `The rendezvous '${text}'`, 'BAD_RENDEZVOUS')
  return await import(file.href)
}

async function imported(text: string, load: () => Promise<unknown>): Promise<unknown> {
  try {
    return await load()
  } catch (cause) {
    if (cause instanceof PlexusError) throw cause
    const code = codeOf(cause)
    const missing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
    throw new PlexusError(
      'BAD_RENDEZVOUS',
      missing
        ? `There is no rendezvous '${text}', and no module of that name is installed.`
        : `The rendezvous '${text}' cannot be loaded: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    )
  }
}
