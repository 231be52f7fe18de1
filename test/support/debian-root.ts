import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Unpacks Debian packages that cannot be installed beside each other, or would start daemons, into a directory, together with the
 * libraries that they need and this machine has not. It is kept for the next time.
 * @returns its path, or why it cannot be had
 */
export function debianRoot(
  packages: readonly string[],
): { readonly path: string } | { readonly reason: string } {
  if (process.getuid?.() !== 0) return { reason: 'mount namespaces need root' }
  if (!existsSync('/usr/bin/apt-get')) return { reason: 'no apt-get' }
  if (spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status !== 0)
    return { reason: 'namespaces are not allowed' }
  const digest = createHash('sha256').update(packages.join()).digest('hex').slice(0, 8)
  const path = join(tmpdir(), `plexus-debian-${digest}`)
  if (existsSync(path))
    return statSync(path).uid === 0 ? { path } : { reason: `${path} belongs to another user` }
  const work = mkdtempSync(join(tmpdir(), 'plexus-debian-'))
  try {
    unpack(packages, work)
    try {
      renameSync(join(work, 'root'), path)
    } catch (thrown) {
      if (!existsSync(path)) throw thrown // another test was faster
    }
    return { path }
  } catch (thrown) {
    const [line] = String((thrown as { stderr?: unknown }).stderr ?? thrown)
      .trim()
      .split('\n')
      .slice(-1)
    return { reason: `${packages.join(', ')} cannot be fetched: ${line}` }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function unpack(packages: readonly string[], work: string): void {
  const run = (command: string, args: readonly string[], cwd = work) =>
    execFileSync(command, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 16 << 20,
    })
  const simple = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (each) => `--no-${each}`,
  )
  const depends = () => run('apt-cache', ['depends', '--recurse', ...simple, ...packages])
  let closure = ''
  try {
    closure = depends()
  } catch {
    run('apt-get', ['update', '-qq'])
    closure = depends()
  }
  const installed = new Set(
    run('dpkg', ['--get-selections'])
      .split('\n')
      .flatMap((line) => /^([^:\s]+)\S*\s+(?:install|hold)$/.exec(line)?.[1] ?? []),
  )
  const libraries = [...new Set(closure.match(/^lib[a-z0-9.+-]+$/gm) ?? [])].filter(
    (name) => !installed.has(name) && !name.endsWith('-perl'),
  )
  const files = join(work, 'files')
  mkdirSync(files)
  run('apt-get', ['download', '-qq', ...packages, ...libraries], files)
  const root = join(work, 'root')
  for (const file of readdirSync(files)) run('dpkg-deb', ['-x', join(files, file), root])
  // where /lib is /usr/lib
  for (const top of ['lib', 'bin', 'sbin']) {
    if (!existsSync(join(root, top))) continue
    cpSync(join(root, top), join(root, 'usr', top), { recursive: true, verbatimSymlinks: true })
    rmSync(join(root, top), { recursive: true })
  }
}

/**
 * The command that runs a script of sh where the packages are part of the system: in namespaces of mounts and processes of its
 * own, with empty /var and /run, and an /etc that is thrown away. All of it ends with the process.
 * @param root what `debianRoot` gave
 * @param directory for the mounts
 * @param users to add to those of the system, by their ids
 */
export function within(
  root: string,
  directory: string,
  users: Readonly<Record<string, number>>,
  script: string,
): readonly [command: string, args: readonly string[]] {
  const upper = join(directory, 'etc')
  const entries = (more: (name: string, id: number) => string) =>
    Object.entries(users)
      .map(([name, id]) => more(name, id))
      .join('\\n')
  const setup = `set -e
mkdir -p '${upper}'
mount -t tmpfs tmpfs '${upper}'
mkdir -p '${upper}/up' '${upper}/work' '${root}/etc'
mount -t overlay overlay -o 'lowerdir=${root}/usr:/usr' /usr
mount -t overlay overlay -o 'lowerdir=${root}/etc:/etc,upperdir=${upper}/up,workdir=${upper}/work' /etc
printf '${entries((name, id) => `${name}:x:${id}:${id}::/var/empty:/bin/sh`)}\\n' >>/etc/passwd
printf '${entries((name, id) => `${name}:x:${id}:`)}\\n' >>/etc/group
mount -t tmpfs tmpfs /var
mount -t tmpfs tmpfs /run
ln -s /run /var/run
mkdir -p /var/tmp /var/lib /var/spool /var/log /var/empty /run/lock
ln -s /run/lock /var/lock
chmod 1777 /var/tmp
${script}`
  return ['unshare', ['--mount', '--pid', '--fork', '--mount-proc', 'sh', '-c', setup]]
}

/** Ends all that runs in the namespace of a process that `within` has started: its first process, which a signal to `unshare` does not reach. */
export function endNamespace({ pid }: { readonly pid?: number | undefined }): void {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
    .trim()
    .split(' ')
    .filter(Boolean)
  for (const child of children) process.kill(Number(child), 'SIGKILL')
}
