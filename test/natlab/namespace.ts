import { spawn } from 'node:child_process'
import { readdirSync, readlinkSync, statSync } from 'node:fs'

/** Every namespace of a laboratory is called `plxlab-<pid of its owner>-<number>-<role>`. */
const PREFIX = 'plxlab'
const FOLDER = '/run/netns'

let opened = 0

/** A name for all namespaces of one laboratory, unique on this machine while this process lives. */
export function uniquePrefix(): string {
  opened++
  return `${PREFIX}-${process.pid}-${opened}`
}

/** The file that holds a namespace. */
export function namespaceFile(namespace: string): string {
  return `${FOLDER}/${namespace}`
}

/** The namespaces whose names begin with `${prefix}-`. */
export function namespacesOf(prefix: string): string[] {
  return namespaces().filter((name) => name.startsWith(`${prefix}-`))
}

/** The namespaces that a process left behind when it died. */
export function abandonedNamespaces(): string[] {
  return namespaces().filter((name) => {
    const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1]
    return pid !== undefined && !alive(Number(pid))
  })
}

/** Kills every process in the namespaces, then removes them. What is gone already is no error. */
export async function removeNamespaces(names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  // a process that forks while it is looked for is found on the second look
  for (let look = 0; look < 5 && killProcesses(names) > 0; look++) await nextTurn()
  const batch = names.map((name) => `netns del ${name}\n`).join('')
  await runScript(`ip -force -batch - 2>/dev/null <<'END' || :\n${batch}END\n`)
}

/**
 * Starts a process that outlives this one in order to remove the namespaces of `prefix`, whatever way this one ends,
 * SIGKILL too: it reads from a pipe that ends with its writer.
 * @returns lets the keeper go, once the namespaces are removed
 */
export function keep(prefix: string): () => Promise<void> {
  const script = `trap '' INT TERM HUP
read -r word; [ "$word" = removed ] && exit
for round in 1 2 3; do
  for file in ${FOLDER}/${prefix}-*; do
    [ -e "$file" ] && kill -9 $(ip netns pids "\${file##*/}")
  done
done
for file in ${FOLDER}/${prefix}-*; do ip netns del "\${file##*/}"; done`
  const keeper = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  const gone = new Promise<void>((resolve) => keeper.once('close', () => resolve()))
  keeper.on('error', () => {})
  keeper.stdin.on('error', () => {})
  keeper.unref()
  if ('unref' in keeper.stdin && typeof keeper.stdin.unref === 'function') keeper.stdin.unref()
  return async () => {
    keeper.ref()
    keeper.stdin.end('removed\n')
    await gone
  }
}

/**
 * Runs a shell script from standard input, with `-e`.
 * @throws Error with what it said on standard error
 */
export function runScript(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const shell = spawn('sh', ['-es'], { stdio: ['pipe', 'pipe', 'pipe'] })
    const output = { stdout: '', stderr: '' }
    shell.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text
    })
    shell.stderr.setEncoding('utf8').on('data', (text: string) => {
      output.stderr += text
    })
    shell.stdin.on('error', () => {})
    shell.once('error', reject)
    shell.once('close', (status) => {
      if (status === 0) resolve(output.stdout)
      else reject(new Error(`A script of the NAT laboratory ended with ${status}: ${output.stderr.trim()}`))
    })
    shell.stdin.end(script)
  })
}

function namespaces(): string[] {
  try {
    return readdirSync(FOLDER).filter((name) => name.startsWith(`${PREFIX}-`))
  } catch {
    return []
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: unknown }).code !== 'ESRCH'
  }
}

/** Sends SIGKILL to every process of the namespaces and says how many there were. */
function killProcesses(names: readonly string[]): number {
  const inodes = new Set<string>()
  for (const name of names) {
    const inode = statSync(namespaceFile(name), { throwIfNoEntry: false })?.ino
    if (inode !== undefined) inodes.add(`net:[${inode}]`)
  }
  let killed = 0
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      if (!inodes.has(readlinkSync(`/proc/${entry}/ns/net`))) continue
      process.kill(Number(entry), 'SIGKILL')
      killed++
    } catch {
      // it ended meanwhile, or it is a zombie, which has no namespace any more
    }
  }
  return killed
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
