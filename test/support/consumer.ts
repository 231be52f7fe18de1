import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** What a program that has ended left. */
export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * A project in a directory of its own that has the packed package as a dependency, and sees nothing else of this tree:
 * for its compiler the types of node, for its programs what the package itself depends on.
 */
export class Consumer {
  readonly directory: string
  /** The files of the package, as they were packed. */
  readonly files: readonly string[]

  private constructor(directory: string, files: readonly string[]) {
    this.directory = directory
    this.files = files
  }

  /** Packs what was built, and unpacks it where npm would install it. Needs no network. */
  static async create(): Promise<Consumer> {
    const directory = await mkdtemp(join(tmpdir(), 'plexus-consumer-'))
    const modules = join(directory, 'node_modules')
    const installed = join(modules, 'plexus')
    await mkdir(installed, { recursive: true })
    // --ignore-scripts: the build is there, and other tests are using it
    const options = ['--ignore-scripts', '--offline', `--cache=${join(directory, 'cache')}`]
    const packed = await run('npm', ['pack', ...options, `--pack-destination=${directory}`], ROOT)
    if (packed.code !== 0) throw new Error(`npm pack failed: ${packed.stderr}`)
    const tarball = packed.stdout.trim().split('\n').at(-1) ?? ''
    const unpacked = await run(
      'tar',
      ['-xzf', join(directory, tarball), '--strip-components=1', '-C', installed],
      ROOT,
    )
    if (unpacked.code !== 0) throw new Error(`tar failed: ${unpacked.stderr}`)
    const entries = await readdir(installed, { recursive: true, withFileTypes: true })
    const files = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1))
    await mkdir(join(modules, '@types'))
    for (const types of ['@types/node', 'undici-types'])
      await symlink(join(ROOT, 'node_modules', types), join(modules, types))
    await writeFile(join(directory, 'package.json'), '{ "type": "module", "private": true }\n')
    return new Consumer(directory, files.sort())
  }

  /** From now on the dependencies of the package are installed too. */
  async installDependencies(): Promise<void> {
    await symlink(join(ROOT, 'node_modules'), join(this.directory, 'node_modules', 'plexus', 'node_modules'))
  }

  /** Compiles one source as strictly as a consumer may, the declarations of the package included. */
  async compile(name: string, source: string): Promise<Ran> {
    await writeFile(join(this.directory, name), source)
    const options = {
      target: 'es2023',
      lib: ['es2023'],
      module: 'nodenext',
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
    }
    const project = join(this.directory, 'tsconfig.json')
    await writeFile(project, JSON.stringify({ compilerOptions: options, files: [name] }))
    return run(
      process.execPath,
      [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', project],
      this.directory,
    )
  }

  /** Runs a program of the consumer by node. */
  async run(...args: readonly string[]): Promise<Ran> {
    return run(process.execPath, args, this.directory)
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** How long any of it may take, in ms, before it is called stuck. */
const STUCK = 120_000

function run(file: string, args: readonly string[], cwd: string): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(file, args, { cwd, timeout: STUCK, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
      resolve({ code, stdout, stderr })
    })
  })
}
