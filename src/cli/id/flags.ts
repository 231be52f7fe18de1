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
    fallback: 'rsa; of renew as before',
  },
  {
    name: 'out',
    arity: 'one',
    group: 'Pairing',
    value: 'file',
    help: 'export: a new file instead of standard output',
  },
  {
    name: 'as',
    arity: 'one',
    group: 'Pairing',
    value: 'owner/pin',
    help: 'import: whose certificate it is, if it does not say so itself',
  },
  {
    name: 'fingerprint',
    arity: 'many',
    group: 'Pairing',
    value: 'AA:BB:…',
    help: 'import: instead of asking, take only this certificate (SHA-256); repeatable',
  },
  {
    name: 'replace',
    arity: 'switch',
    group: 'Pairing',
    help: 'import: after a theft, revoke the certificates that are there instead of keeping them beside it',
  },
  {
    name: 'with-key',
    arity: 'switch',
    group: 'Pairing',
    help: 'remove: an own identity with its private key',
  },
  {
    name: 'finish',
    arity: 'switch',
    group: 'Pairing',
    help: 'renew: put the next certificate in the place of the current',
  },
  { name: 'yes', arity: 'switch', group: 'Pairing', help: 'remove, renew --finish: do not ask' },
]
