/**
 * A program that has used up its descriptors, and then wants more, one thing after the other. It prints what each attempt
 * came to, as JSON. Its argument is a directory with a repository in it.
 */
import { closeSync, openSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { openRendezvous } from '../../rendezvous/index.js'
import { Budget, UNBOUNDED } from '../../src/budget/index.js'
import { asPlexusError, PlexusError } from '../../src/errors/index.js'
import { start } from '../../src/exec/index.js'
import { openOutput, whyUnwritable } from '../../src/files/index.js'
import { createIdentity, parseIdentity, Repository } from '../../src/identity/index.js'
import { PortRange, silent, UdpPort } from '../../src/net/index.js'
import { systemClock, systemRandom } from '../../src/system/index.js'
import { dial } from '../../src/wormhole/dial.js'
import { Forwarding, type ForwardingPlan, type Service } from '../../src/wormhole/index.js'

const [directory = ''] = process.argv.slice(2)
const repository = join(directory, 'repo')
const name = parseIdentity('a@px.test/b')
const clock = systemClock
await createIdentity(repository, name, { key: 'ec', random: systemRandom, date: clock.date() })
const known = await Repository.open(repository)
const { signal } = new AbortController()
const passage = {
  inner: { address: '127.0.0.1', port: 1 },
  outer: { address: '127.0.0.1', port: 1 },
  peer: { address: '127.0.0.1', port: 2 },
  host: name,
  peerId: name,
  secret: 1n,
  key: undefined,
  paths: { hostCertificate: '', hostKey: '', peerCertificate: '' },
  role: 'inviter' as const,
  app: 'plexus',
  session: '00'.repeat(16),
}
const server = createServer().listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))
const { port } = server.address() as { port: number }

const plan = (service: Service): ForwardingPlan =>
  ({
    exports: () => ({ kind: 'refused', code: 'SERVICE_UNKNOWN', sentence: 'No.' }),
    imports: [{ name: 'one', service, peer: 'a/b' }],
    wait: 0,
  }) as unknown as ForwardingPlan
const imports = (service: Service) =>
  Forwarding.open(plan(service), { clock, log: silent, budget: new Budget(UNBOUNDED) })

const attempts: Record<string, () => unknown> = {
  'a UDP port': () => UdpPort.open(),
  'a UDP port of its own choice': () => UdpPort.open({ address: '127.0.0.1', port: 40_000 }),
  'a port of a range': () => new PortRange(40_000, 40_100).open('127.0.0.1'),
  'a connection to a service': () => dial({ kind: 'tcp', host: '127.0.0.1', port }, { clock, signal }),
  'an import': () => imports({ kind: 'tcp', host: '127.0.0.1', port: 0 }),
  'an import of datagrams': () => imports({ kind: 'udp', host: '127.0.0.1', port: 0 }),
  'a command': () =>
    start(
      { file: '/bin/true', words: [], environment: new Map(), detach: false } as unknown as Parameters<
        typeof start
      >[0],
      passage as unknown as Parameters<typeof start>[1],
      { clock, log: silent, env: process.env },
    ),
  'a repository': () => Repository.open(repository),
  'a certificate': () => known.certificates(name, { host: name, date: clock.date() }),
  'the own key': () => known.host(name),
  'a log file': () => {
    const path = join(directory, 'log')
    try {
      openOutput(path)
    } catch (cause) {
      throw new PlexusError('EXEC_LOG', `${whyUnwritable(path, cause)}.`, { cause })
    }
  },
  'a rendezvous in a directory': () =>
    openRendezvous([`dir:${join(directory, 'post')}`], {
      clock,
      random: systemRandom,
      log: silent,
      stateDirectory: directory,
      options: {},
    }).then((rendezvous) => rendezvous.ready?.({ signal })),
}

// what is loaded when it is first used has been loaded
for (const attempt of Object.values(attempts)) {
  await Promise.resolve()
    .then(attempt)
    .then((opened) => (opened as { close?: () => unknown } | undefined)?.close?.())
    .catch(() => {})
}
await new Promise((resolve) => setTimeout(resolve, 100))

const held: number[] = []
for (;;) {
  try {
    held.push(openSync('/dev/null', 'r'))
  } catch {
    break
  }
}
const found: Record<string, { code: string; message: string; advice: string }> = {}
for (const [what, attempt] of Object.entries(attempts)) {
  try {
    await attempt()
    found[what] = { code: 'none', message: '', advice: '' }
  } catch (thrown) {
    const { code, message, advice } = asPlexusError(thrown)
    found[what] = { code, message, advice }
  }
}
// a process needs several: some are there, and not all
for (let free = 1; free <= 2; free++) {
  closeSync(held.pop() as number)
  const what = `a command with ${free} left`
  try {
    const child = (await attempts['a command']?.()) as { exited: Promise<unknown> }
    await child.exited
    found[what] = { code: 'none', message: '', advice: '' }
  } catch (thrown) {
    const { code, message, advice } = asPlexusError(thrown)
    found[what] = { code, message, advice }
  }
}
for (const fd of held) closeSync(fd)
process.stdout.write(`${JSON.stringify(found)}\n`)
process.exit(0)
