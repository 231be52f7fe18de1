import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemRandom } from '../../src/cli/clock.js'
import { Process } from '../../test/natlab/pairing-rig.js'
import { HOOKS } from '../../test/support/hooks.js'
import { OpenSsh } from '../../test/support/open-ssh.js'
import { FAR, type Link, NEAR } from './link.js'

const OPENVPN = join(HOOKS, 'openvpn')

/** How long a carrier may take to stand, in ms. */
const PATIENCE = 30_000
/** The port of the far machine that both wormhole and openvpn are told, and that of the near one. */
const UDP_PORT = 4001
const SSH_PORT = 22
/** Where a carrier listens on the near machine. */
const LOCAL_PORT = 6000

/** Something that carries TCP connections of the near machine to a port of the far one. */
export interface Carrier {
  readonly name: string
  /** Where the near machine connects to for this port of the far one. */
  readonly target: { readonly address: string; readonly port: number }
  /** Its processes on both machines, whose CPU time is counted. */
  readonly pids: readonly number[]
  /** The congestion control that iperf3 asks of the kernel, if not that of the machine. */
  readonly congestion?: string
  close(): Promise<void>
}

/** Sets a carrier up. @param port of the far machine; @param directory for keys and the like */
export type Setup = (link: Link, port: number, directory: string) => Promise<Carrier>

/** The link itself. */
export const raw: Setup = async (_link, port) => ({
  name: 'raw TCP',
  target: { address: FAR, port },
  pids: [],
  close: async () => {},
})

/** The link under the congestion control that most machines have, if this one has another. */
export const cubic: Setup = async (link, port, directory) => ({
  ...(await raw(link, port, directory)),
  name: 'raw TCP, cubic',
  congestion: 'cubic',
})

export const wormhole: Setup = async (link, port, directory) => {
  const keyFile = join(directory, 'key')
  writeFileSync(keyFile, `${systemRandom(32).toString('base64')}\n`, { mode: 0o600 })
  const ends = [
    { machine: link.far, purpose: 'export', service: `127.0.0.1:${port}`, own: FAR, other: NEAR },
    { machine: link.near, purpose: 'import', service: `127.0.0.1:${LOCAL_PORT}`, own: NEAR, other: FAR },
  ].map(({ machine, purpose, service, own, other }) => {
    const addresses = [`--gateway=${own}:${UDP_PORT}`, `--faraway=${other}:${UDP_PORT}`]
    const flags = [`--purpose=${purpose}`, `--service=${service}`, `--key-file=${keyFile}`]
    return new Process(machine, ['wormhole', ...flags, ...addresses])
  })
  await Promise.all(ends.map((end) => end.said(/tunnel up/)))
  return {
    name: 'wormhole',
    target: { address: '127.0.0.1', port: LOCAL_PORT },
    pids: ends.map(({ child }) => child.pid ?? 0),
    close: async () => {
      await Promise.all(ends.map((end) => end.stop()))
    },
  }
}

/** The C++ wormhole of novemus, whose folder PLEXUS_PEERS names. */
export const cpp: Setup = async (link, port) => {
  const folder = process.env.PLEXUS_PEERS
  if (folder === undefined) throw new Error('PLEXUS_PEERS names no folder')
  const ends = [
    { machine: link.far, purpose: 'export', service: `127.0.0.1:${port}`, own: FAR, other: NEAR },
    { machine: link.near, purpose: 'import', service: `127.0.0.1:${LOCAL_PORT}`, own: NEAR, other: FAR },
  ].map(({ machine, purpose, service, own, other }) => {
    const addresses = [`--gateway=${own}:${UDP_PORT}`, `--faraway=${other}:${UDP_PORT}`]
    const words = [`--purpose=${purpose}`, `--service=${service}`, '--obscure=12345', ...addresses]
    return machine.spawn(join(folder, 'wormhole-cpp'), words, { stdio: 'ignore' })
  })
  await listening(link)
  return {
    name: 'wormhole, C++',
    target: { address: '127.0.0.1', port: LOCAL_PORT },
    pids: ends.map(({ pid }) => pid ?? 0),
    close: async () => {
      for (const child of ends) {
        const ended = once(child, 'close')
        child.kill('SIGKILL')
        await ended
      }
    },
  }
}

export const sshForward: Setup = async (link, port, directory) => {
  const keys = new OpenSsh(directory)
  const server = await keys.serve(link.far, FAR, SSH_PORT)
  const forward = `127.0.0.1:${LOCAL_PORT}:127.0.0.1:${port}`
  const client = link.near.spawn('ssh', [...keys.options, '-N', '-L', forward, `root@${FAR}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const target = { address: '127.0.0.1', port: LOCAL_PORT }
  await listening(link)
  return {
    name: 'ssh -L',
    target,
    pids: [client.pid ?? 0],
    close: async () => {
      for (const child of [client, server]) {
        const ended = once(child, 'close')
        child.kill()
        await ended
      }
    },
  }
}

/** By the hook: UDP, AES-256-GCM, TLS with a certificate on each side. */
export const openvpn: Setup = async (link, port, directory) => {
  const path = (role: string, what: string) => join(directory, `${role}.${what}`)
  for (const role of ['accepter', 'inviter']) {
    const files = ['-nodes', '-keyout', path(role, 'key'), '-out', path(role, 'crt'), '-subj', `/CN=${role}`]
    const type = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
    execFileSync('openssl', ['req', '-x509', ...type, ...files], { stdio: 'ignore' })
  }
  const ends = [
    { machine: link.far, role: 'accepter', peer: 'inviter', own: FAR, other: NEAR },
    { machine: link.near, role: 'inviter', peer: 'accepter', own: NEAR, other: FAR },
  ].map(({ machine, role, peer, own, other }) =>
    machine.spawn(OPENVPN, [], {
      stdio: 'ignore',
      env: {
        PATH: process.env.PATH,
        PLEXUS_ROLE: role,
        PLEXUS_INNER_IP: own,
        PLEXUS_INNER_PORT: String(UDP_PORT),
        PLEXUS_PEER_IP: other,
        PLEXUS_PEER_PORT: String(UDP_PORT),
        PLEXUS_HOST_CERT: path(role, 'crt'),
        PLEXUS_HOST_KEY: path(role, 'key'),
        PLEXUS_PEER_CERT: path(peer, 'crt'),
      },
    }),
  )
  const target = { address: '10.77.0.1', port }
  await repeated(link, `ping -c 1 -W 1 ${target.address} >/dev/null 2>&1`)
  return {
    name: 'openvpn',
    target,
    pids: ends.map(({ pid }) => pid ?? 0),
    close: async () => {
      for (const child of ends) {
        const ended = once(child, 'close')
        child.kill()
        await ended
      }
    },
  }
}

/** Waits until something listens at LOCAL_PORT of the near machine; to connect would be a visit to the service. */
async function listening(link: Link): Promise<void> {
  // proc(5): ports are hexadecimal, and 0A is LISTEN
  const port = LOCAL_PORT.toString(16).padStart(4, '0').toUpperCase()
  await repeated(link, `grep -q ':${port} .* 0A ' /proc/net/tcp`)
}

/** Runs a shell command on the near machine until it succeeds. */
async function repeated(link: Link, command: string): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE)
  await link.near.exec('sh', ['-c', `until ${command}; do sleep 0.1; done`], { signal })
}

/** Seconds of CPU time that processes have used so far. */
export function cpuSeconds(pids: readonly number[]): number {
  // proc_pid_stat(5): utime and stime are the 14th and 15th, in hundredths of a second; the name may hold blanks
  const ticks = pids.flatMap((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number)
  })
  return ticks.reduce((sum, value) => sum + value, 0) / 100
}
