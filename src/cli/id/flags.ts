import { type Flag, PAIRING_FLAGS } from '../flags/flags.js'

/** The flags of `plexus id`. */
export const ID_FLAGS: readonly Flag[] = [
  ...PAIRING_FLAGS.filter(({ name }) => name === 'app-repo'),
  {
    name: 'key',
    arity: 'one',
    group: 'Pairing',
    value: 'kind',
    help: 'new, renew: rsa (3072 bits) or ec (P-256)',
    fallback: 'rsa; for renew, as before',
  },
  {
    name: 'out',
    arity: 'one',
    group: 'Pairing',
    value: 'file',
    help: 'export: write to a new file instead of standard output',
  },
  {
    name: 'as',
    arity: 'one',
    group: 'Pairing',
    value: 'owner/pin',
    help: 'import: the identity, if the file does not name it',
  },
  {
    name: 'fingerprint',
    arity: 'many',
    group: 'Pairing',
    value: 'AA:BB:…',
    help: 'import: accept only this certificate (SHA-256), without asking; repeatable',
  },
  {
    name: 'replace',
    arity: 'switch',
    group: 'Pairing',
    help: 'import: revoke the old certificates, after a theft',
  },
  {
    name: 'with-key',
    arity: 'switch',
    group: 'Pairing',
    help: 'remove: remove your own identity too, with its private key',
  },
  {
    name: 'finish',
    arity: 'switch',
    group: 'Pairing',
    help: 'renew: replace the current certificate with the next one',
  },
  {
    name: 'yes',
    arity: 'switch',
    group: 'Pairing',
    help: 'remove, renew --finish: do not ask for confirmation',
  },
]
