import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { formatIdentity, type Host, type IdentityName, Repository } from '../src/identity/index.js'

/** The kinds of keys, as openssl names them. */
export const KEYS: Readonly<Record<string, readonly string[]>> = {
  'P-256': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'RSA 2048': ['rsa:2048'],
  'RSA 3072': ['rsa:3072'],
  'RSA 4096': ['rsa:4096'],
}

/** A host with a new key of that kind. @param repository a directory of its own */
export async function hostWith(
  repository: string,
  name: IdentityName,
  key: readonly string[],
): Promise<Host> {
  const home = join(repository, formatIdentity(name))
  mkdirSync(home, { recursive: true })
  const [cert, secret] = [join(home, 'cert.crt'), join(home, 'private.key')]
  const request = ['req', '-x509', '-newkey', ...key, '-nodes', '-subj', '/CN=bench', '-days', '1']
  execFileSync('openssl', [...request, '-keyout', secret, '-out', cert], { stdio: 'ignore' })
  chmodSync(secret, 0o600)
  return await (await Repository.open(repository)).host(name)
}
