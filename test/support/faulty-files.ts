import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { constants } from 'node:os'

/** One use of the file system below the watched directory. */
export interface FileCall {
  readonly call: string
  readonly path: string
}

type Code = keyof typeof constants.errno
type Function = (...args: unknown[]) => unknown

/** What takes a path and may fail. */
const WITH_PATH = [
  ...['access', 'mkdir', 'mkdtemp', 'open', 'opendir', 'readFile', 'writeFile', 'rename', 'link', 'lstat'],
  ...['stat', 'readdir', 'readlink', 'realpath', 'rm', 'rmdir', 'unlink'],
]
/** What is asked of an open file. */
const OF_HANDLE = ['chmod', 'read', 'readFile', 'stat', 'sync', 'truncate', 'write', 'writeFile']
/** The same by a descriptor. */
const OF_DESCRIPTOR = ['fstatSync', 'readSync', 'writeSync', 'ftruncateSync']

/**
 * The file system as this process sees it, with one call that fails: every use of a path below a directory is counted, and the one
 * that is chosen throws what the system would. What is tested runs as it is.
 */
export class FaultyFiles {
  readonly root: string
  /** What was called since `watch`, in order. */
  calls: FileCall[] = []
  #fault: (FileCall & { readonly code: Code }) | undefined
  #watching = false
  readonly #restore: (() => void)[] = []
  readonly #descriptors = new Map<number, string>()
  readonly #handles = new WeakMap<object, string>()

  constructor(root: string) {
    this.root = root
    const promises = fs.promises as unknown as Record<string, Function>
    const sync = fs as unknown as Record<string, Function>
    for (const name of WITH_PATH) {
      this.#replace(promises, name, (original) => async (...args) => {
        const path = String(args[0])
        if (this.#inside(path)) this.#called(name, path)
        const result = await original(...args)
        if (name === 'open' && this.#inside(path)) this.#watchHandle(result as object, path)
        return result
      })
      this.#replace(sync, `${name}Sync`, (original) => (...args) => {
        const path = typeof args[0] === 'number' ? (this.#descriptors.get(args[0]) ?? '') : String(args[0])
        if (this.#inside(path)) this.#called(`${name}Sync`, path)
        const result = original(...args)
        if (name === 'open' && this.#inside(path)) this.#descriptors.set(result as number, path)
        return result
      })
    }
    for (const name of OF_DESCRIPTOR) {
      this.#replace(sync, name, (original) => (...args) => {
        const path = this.#descriptors.get(args[0] as number)
        if (path !== undefined) this.#called(name, path)
        return original(...args)
      })
    }
    this.#replace(sync, 'closeSync', (original) => (fd) => {
      this.#descriptors.delete(fd as number)
      return original(fd)
    })
    syncBuiltinESMExports()
  }

  /** Counts from now on. @param fault the call that fails, each time; names that were drawn at random count as one, and with what */
  watch(fault?: FileCall & { readonly code: Code }): void {
    this.calls = []
    this.#fault = fault
    this.#watching = true
  }

  /** Counts no more; nothing fails. */
  rest(): void {
    this.#watching = false
    this.#fault = undefined
  }

  /** The file system is as it was. */
  remove(): void {
    for (const restore of this.#restore) restore()
    syncBuiltinESMExports()
  }

  #replace(of: Record<string, Function>, name: string, made: (original: Function) => Function): void {
    const original = of[name]
    if (original === undefined) return
    // what is beside it, as realpath.native
    of[name] = Object.assign(made(original.bind(of)), original)
    this.#restore.push(() => {
      of[name] = original
    })
  }

  #inside(path: string): boolean {
    return this.#watching && path.startsWith(this.root)
  }

  #called(call: string, path: string): void {
    if (!this.#watching) return
    const drawn = path.replace(/[0-9a-f]{12,}/g, '#')
    this.calls.push({ call, path: drawn })
    if (this.#fault?.call === call && this.#fault.path === drawn) throw failure(this.#fault.code, call, path)
  }

  #watchHandle(handle: object, path: string): void {
    this.#handles.set(handle, path)
    for (const name of OF_HANDLE) {
      const original = (handle as Record<string, Function>)[name]
      if (original === undefined) continue
      Object.defineProperty(handle, name, {
        value: async (...args: unknown[]) => {
          this.#called(`handle.${name}`, path)
          return await original.apply(handle, args)
        },
      })
    }
  }
}

/** What node throws when the system gives that code. */
function failure(code: Code, call: string, path: string): Error {
  const syscall = call.replace(/Sync$|^handle\./g, '')
  return Object.assign(new Error(`${code}: the system says so, ${syscall} '${path}'`), {
    code,
    errno: -(constants.errno[code] ?? 0),
    syscall,
    path,
  })
}
