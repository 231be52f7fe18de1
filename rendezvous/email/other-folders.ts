import type { Connection } from './connection.js'
import { Folder } from './folder.js'

/** The folders that the server says junk, sent and deleted mail is in (RFC 6154); asked for once. */
export class OtherFolders {
  #found: { readonly junk: readonly Folder[]; readonly copies: readonly Folder[] } | undefined
  readonly #next = new Map<Folder, string>()

  async of(
    connection: Connection,
  ): Promise<{ readonly junk: readonly Folder[]; readonly copies: readonly Folder[] }> {
    if (this.#found) return this.#found
    const list = await connection.within('a LIST', connection.client.list()).catch((thrown: unknown) => {
      if (!connection.client.usable) throw thrown
      return [] // a server that names no folders has the one that messages come to all the same
    })
    const named = (...uses: string[]) =>
      list
        .filter(
          ({ specialUse, specialUseSource }) =>
            specialUseSource === 'extension' && specialUse !== undefined && uses.includes(specialUse),
        )
        .map(({ path }) => new Folder(path, undefined))
    this.#found = { junk: named('\\Junk'), copies: named('\\Sent', '\\Trash') }
    return this.#found
  }

  /** Whether mail has come to it since the last time. */
  async changed(connection: Connection, folder: Folder): Promise<boolean> {
    const query = { uidNext: true, uidValidity: true, messages: true }
    const status = await connection.within(
      'a STATUS',
      connection.client.status(folder.path, query),
      'folder',
      folder.path,
    )
    if (!status) return false
    const now = `${status.uidValidity} ${status.uidNext}`
    const before = this.#next.get(folder)
    this.#next.set(folder, now)
    return before !== now && (status.messages ?? 0) > 0
  }
}
