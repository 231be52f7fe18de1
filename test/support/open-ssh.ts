import type { ChildProcess } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Machine } from '../natlab/index.js'

const SSHD = '/usr/sbin/sshd'

/** Where sshd locks itself in before somebody has proven who he is; Debian's unit makes it. */
const PRIVILEGE_SEPARATION = '/run/sshd'

/** Why there is no OpenSSH here, if so. */
export function openSshUnavailable(): string | false {
  const missing = [SSHD, '/usr/bin/ssh', '/usr/bin/scp', '/usr/bin/ssh-keygen'].find(
    (file) => !existsSync(file),
  )
  return missing !== undefined && `${missing} is not installed`
}

/** Keys of an OpenSSH server and of one who may log in, in a directory. */
export class OpenSsh {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
    for (const name of ['host', 'user'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', this.#path(name)])
    writeFileSync(this.#path('authorized'), readFileSync(this.#path('user.pub')), { mode: 0o600 })
    writeFileSync(this.#path('known'), `* ${readFileSync(this.#path('host.pub'), 'utf8')}`)
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }

  /** Starts sshd on a machine; it listens when this resolves. */
  async serve(machine: Machine, address: string, port: number): Promise<ChildProcess> {
    mkdirSync(PRIVILEGE_SEPARATION, { recursive: true, mode: 0o755 })
    const settings = {
      HostKey: this.#path('host'),
      AuthorizedKeysFile: this.#path('authorized'),
      ListenAddress: address,
      Port: port,
      PidFile: 'none',
      PermitRootLogin: 'prohibit-password',
      StrictModes: 'no',
      UsePAM: 'no',
      Subsystem: 'sftp internal-sftp',
    }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
    const server = machine.spawn(SSHD, ['-D', '-e', '-f', '/dev/null', ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await new Promise<void>((resolve, reject) => {
      const said: string[] = []
      if (server.stderr)
        createInterface({ input: server.stderr }).on('line', (line) => {
          said.push(line)
          if (line.startsWith('Server listening')) resolve()
        })
      server.once('close', () => reject(new Error(`sshd ended: ${said.join('\n')}`)))
    })
    return server
  }

  /** Options of ssh and scp for who may log in: nothing is asked, and no file of the user of this machine read. */
  get options(): string[] {
    const settings = {
      IdentityFile: this.#path('user'),
      IdentitiesOnly: 'yes',
      UserKnownHostsFile: this.#path('known'),
      GlobalKnownHostsFile: '/dev/null',
      StrictHostKeyChecking: 'yes',
      BatchMode: 'yes',
      LogLevel: 'ERROR',
    }
    return ['-F', 'none', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])]
  }
}
