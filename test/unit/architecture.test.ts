import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Who may import whom: a folder sees those named here, and itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'src/errors': [],
  // who decides what is at a path, who knows what is in a file, and how files are written
  'src/files': ['src/errors'],
  'src/net': ['src/errors'],
  // what peers may use of the process, and each of them
  'src/budget': [],
  // what is told of all the others: log, status, metrics and --result read it there
  'src/watch': ['src/net', 'src/errors'],
  'src/stun': ['src/net', 'src/errors'],
  'src/portmap': ['src/net', 'src/errors'],
  'src/nat': ['src/stun', 'src/net', 'src/errors'],
  'src/identity': ['src/files', 'src/net', 'src/errors'],
  'src/sealing': ['src/identity', 'src/net', 'src/errors'],
  'src/punch': ['src/net', 'src/errors'],
  // mails as others may have changed them, for both forms that the program writes
  'src/mail': [],
  'src/plexus3': ['src/mail', 'src/sealing', 'src/identity', 'src/net', 'src/errors'],
  rendezvous: ['src/mail', 'src/files', 'src/net', 'src/errors'],
  'src/pairing': [
    'src/budget',
    'src/watch',
    'src/punch',
    'src/sealing',
    'src/portmap',
    'src/stun',
    'src/identity',
    'src/net',
    'src/errors',
    'rendezvous',
  ],
  // sessions with peers of an older language, beside those of pairing
  'src/dialect': [
    'src/watch',
    'src/pairing',
    'src/plexus3',
    'src/punch',
    'src/sealing',
    'src/identity',
    'src/net',
    'src/errors',
    'rendezvous',
  ],
  'src/exec': ['src/files', 'src/net', 'src/errors'],
  'src/wormhole': ['src/watch', 'src/budget', 'src/net', 'src/errors'],
  'src/daemon': [
    'src/budget',
    'src/files',
    'src/watch',
    'src/dialect',
    'src/pairing',
    'src/wormhole',
    'src/exec',
    'src/sealing',
    'src/identity',
    'src/net',
    'src/errors',
  ],
  // time and randomness as they are: for the two faces, the command line and the library
  'src/system': ['src/budget', 'src/net'],
  // directories and files of this program's own: who else can write there, and who has them
  'src/place': ['src/files', 'src/net', 'src/errors'],
  // the one place where settings become a program
  'src/assembly': [
    'src/budget',
    'src/files',
    'src/watch',
    'src/daemon',
    'src/dialect',
    'src/pairing',
    'src/wormhole',
    'src/exec',
    'src/portmap',
    'src/nat',
    'src/sealing',
    'src/identity',
    'src/place',
    'src/net',
    'src/errors',
    'rendezvous',
  ],
  'src/library': [
    'src/budget',
    'src/assembly',
    'src/place',
    'src/files',
    'src/pairing',
    'src/wormhole',
    'src/punch',
    'src/sealing',
    'src/stun',
    'src/identity',
    'src/net',
    'src/errors',
    'src/system',
    'rendezvous',
  ],
  'src/index.ts': [
    'src/budget',
    'src/system',
    'src/library',
    'src/wormhole',
    'src/pairing',
    'src/punch',
    'src/stun',
    'src/identity',
    'src/net',
    'src/errors',
    'rendezvous',
  ],
  // flags in, settings out: how a pairing is put together is for src/assembly to know
  'src/cli': [
    'src/budget',
    'src/files',
    'src/watch',
    'src/system',
    'src/assembly',
    'src/place',
    'src/wormhole',
    'src/exec',
    'src/nat',
    'src/stun',
    'src/identity',
    'src/net',
    'src/errors',
    'rendezvous',
  ],
}

/**
 * What only the cli may touch: the environment, the process, the console and the clock. src/system makes values of the
 * clock and of randomness, because the library has to have them too.
 */
const CLI_ONLY =
  /\bprocess\.(env|argv|exit|exitCode|stdout|stderr|on)\b|\bconsole\.|\bDate\.now\b|\bMath\.random\b|\bsetTimeout\b|\bsetInterval\b/

interface Source {
  readonly path: string
  readonly folder: string
  readonly text: string
}

function sources(): Source[] {
  return ['src', 'rendezvous'].flatMap((top) =>
    readdirSync(join(ROOT, top), { recursive: true })
      .map((name) => join(top, String(name)))
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
      .map((path) => ({ path, folder: folderOf(path), text: readFileSync(join(ROOT, path), 'utf8') })),
  )
}

function folderOf(path: string): string {
  return path.startsWith('rendezvous') ? 'rendezvous' : path.split('/').slice(0, 2).join('/')
}

function importsOf({ path, text }: Source): string[] {
  const found = text.matchAll(/(?:from|import\()\s*'(\.[^']*)'/g)
  return [...found].map(([, target]) => relative(ROOT, resolve(ROOT, dirname(path), target ?? '')))
}

test('imports run one way', () => {
  const wrong = sources().flatMap((source) =>
    importsOf(source)
      .filter((target) => folderOf(target) !== source.folder)
      .filter((target) => !MAY_IMPORT[source.folder]?.includes(folderOf(target)))
      .map((target) => `${source.path} imports ${target}`),
  )
  assert.deepEqual(wrong, [])
})

test('nothing reaches past the face of a folder', () => {
  const wrong = sources().flatMap((source) =>
    importsOf(source)
      .filter((target) => folderOf(target) !== source.folder)
      .filter((target) => !/\/(index|interface|conformance)\.js$/.test(target))
      .map((target) => `${source.path} imports ${target}`),
  )
  assert.deepEqual(wrong, [])
})

test('no two files import each other, directly or by way of others, not even for a type', () => {
  const graph = new Map(sources().map((source) => [source.path, importsOf(source).map(asSource)]))
  assert.deepEqual(circleIn(graph), [])
})

/** A circle of a graph, each node with those that it points at; empty without one. */
function circleIn(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const finished = new Set<string>()
  const visit = (node: string, trail: readonly string[]): string[] => {
    const known = trail.indexOf(node)
    if (known >= 0) return [...trail.slice(known), node]
    if (finished.has(node)) return []
    for (const target of graph.get(node) ?? []) {
      const circle = visit(target, [...trail, node])
      if (circle.length > 0) return circle
    }
    finished.add(node)
    return []
  }
  for (const node of graph.keys()) {
    const circle = visit(node, [])
    if (circle.length > 0) return circle
  }
  return []
}

function asSource(compiled: string): string {
  return compiled.replace(/\.js$/, '.ts')
}

/** What settings are made into, and the folder that it comes from. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/\bopenRendezvous\(/, 'rendezvous'],
  [/\bnew PortMapper\(/, 'src/portmap'],
  [/\bnew Searching\(/, 'src/pairing'],
  [/\bPathMemory\.open\(/, 'src/pairing'],
  [/\bNatMemory\.open\(/, 'src/nat'],
  [/: PairingContext = \{/, 'src/pairing'],
  [/\brun(Accepter|Inviter|Ping)\(/, 'src/daemon'],
]

test('settings become a pairing in one place, which the command line and the library call', () => {
  const wrong = sources().flatMap(({ path, folder, text }) =>
    PARTS.filter(([part, home]) => part.test(text) && folder !== home && folder !== 'src/assembly')
      // the library's own function of that name, which calls the assembly
      .filter(([part]) => !(path === 'src/library/rendezvous.ts' && part.test('openRendezvous(')))
      .map(([part]) => `${path} has ${part.source}`),
  )
  assert.deepEqual(wrong, [])
})

test('nothing but the cli touches the environment, the process or the clock', () => {
  const wrong = sources()
    .filter(({ folder }) => folder !== 'src/cli' && folder !== 'src/system')
    .filter(({ text }) => CLI_ONLY.test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')))
    .map(({ path }) => path)
  assert.deepEqual(wrong, [])
})

/**
 * Who asks the system for files, and for what it knows of the machine. Each of them says what a failure means to a person, as
 * `test/program/file-faults.test.ts` holds it to; whoever else wants a file asks one of these.
 */
const OWNERS: ReadonlySet<string> = new Set([
  'rendezvous/dht/keyfile.ts',
  'rendezvous/dir.ts',
  'rendezvous/email/position.ts',
  'rendezvous/email/secret-file.ts',
  'rendezvous/email/trust.ts',
  'src/cli/commands/demo.ts',
  'src/cli/flags/command.ts',
  'src/cli/flags/config.ts',
  'src/cli/flags/defaults.ts',
  'src/cli/flags/program.ts',
  'src/cli/flags/tunnel-key.ts',
  'src/cli/id/export.ts',
  'src/cli/id/import.ts',
  'src/cli/id/show.ts',
  'src/cli/main.ts',
  'src/cli/output/log.ts',
  'src/cli/output/result.ts',
  'src/cli/process/stdio.ts',
  'src/cli/version.ts',
  'src/dialect/natives.ts',
  'src/exec/child.ts',
  'src/exec/key-file.ts',
  'src/exec/process-group.ts',
  'src/exec/supervision.ts',
  'src/files/directory.ts',
  'src/files/output.ts',
  'src/files/program.ts',
  'src/files/safe-path.ts',
  'src/files/whole-file.ts',
  'src/identity/confined.ts',
  'src/identity/create.ts',
  'src/identity/record.ts',
  'src/identity/removal.ts',
  'src/identity/repository.ts',
  'src/identity/rollover.ts',
  'src/nat/memory.ts',
  'src/net/interfaces.ts',
  'src/pairing/path-memory.ts',
  'src/place/hold.ts',
  'src/place/lock.ts',
  'src/place/state-directory.ts',
  'src/place/temporary-directory.ts',
  'src/portmap/gateway.ts',
  'src/sealing/seen.ts',
  'src/system/machine.ts',
  'src/wormhole/stream-import.ts',
])

test('no key is exported as JWK: Node 20 can lock itself up in that, for good', () => {
  const found = sources()
    .filter(({ text }) => /format: 'jwk'/.test(text))
    .map(({ path }) => path)
  assert.deepEqual(found, [])
})

test('whoever uses files, or asks for the machine, is known by name', () => {
  const users = sources().filter(({ text }) =>
    /(?:from|import\()\s*'(?:node:)?(?:fs|os)(?:\/promises)?'/.test(text),
  )
  assert.deepEqual(
    users.map(({ path }) => path).filter((path) => !OWNERS.has(path)),
    [],
  )
  assert.deepEqual(
    [...OWNERS].filter((owner) => !users.some(({ path }) => path === owner)),
    [],
  )
})

test('a file is one noun, of at most 400 lines', () => {
  const long = sources().filter(({ text }) => text.split('\n').length > 400)
  assert.deepEqual(
    long.map(({ path }) => path),
    [],
  )
})
