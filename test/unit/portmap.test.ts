import assert from 'node:assert/strict'
import { platform } from 'node:os'
import { type TestContext, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import type { Clock } from '../../src/net/index.js'
import { PortMapper, type PortMapping } from '../../src/portmap/index.js'
import {
  description,
  type FakeRequest,
  FakeRouter,
  type FakeRouterOptions,
  grant,
  hurried,
  Mappings,
  natPmpAnswer,
  OWN,
  pcpAnswer,
  ROUTER,
  soap,
  soapFault,
} from '../support/fake-router.js'
import { MemoryLog } from '../support/log.js'

const OUTSIDE = '203.0.113.5'
const PORT = 40_000
const IP_CONNECTION = 'urn:schemas-upnp-org:service:WANIPConnection:1'

const skip = platform() === 'linux' ? false : 'only Linux has all of 127.0.0.0/8 on loopback'

/** Something that happens once. */
class Signal {
  give = () => {}
  readonly given = new Promise<void>((resolve) => {
    this.give = resolve
  })
}

/** A router, and a mapper that takes it for its gateway. */
async function network(t: TestContext, options: FakeRouterOptions, clock: Clock = systemClock) {
  const router = await FakeRouter.start(options)
  const log = new MemoryLog()
  const gateway = { address: ROUTER, own: OWN }
  const mapper = new PortMapper({
    clock,
    random: systemRandom,
    log,
    gateway: async () => gateway,
  })
  t.after(async () => {
    await mapper.close()
    await router.stop()
  })
  return { router, mapper, log }
}

async function asked(mapping: PortMapping): Promise<PortMapping> {
  await mapping.asked
  return mapping
}

/** A router that speaks UPnP as most do, but where a test says otherwise. */
function upnp(
  changes: Partial<
    Record<string, (request: FakeRequest) => { status?: number; body: string } | undefined>
  > = {},
): FakeRouterOptions {
  const mappings = new Mappings()
  return {
    location: (url) => `${url}/description.xml`,
    http: (request) => {
      const changed = changes[request.action || request.path]?.(request)
      if (changed) return changed
      switch (request.action) {
        case 'GetExternalIPAddress':
          return { body: soap(request.action, { NewExternalIPAddress: OUTSIDE }) }
        default:
          return mappings.answer(request) ?? { body: description(IP_CONNECTION, '/control') }
      }
    },
  }
}

test('NAT-PMP: a port is mapped for minutes, and given back', { skip }, async (t) => {
  const { router, mapper } = await network(t, { natPmp: (request) => grant(request, OUTSIDE) })
  const mapping = await asked(mapper.map(PORT))
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  await mapping.release()
  assert.deepEqual(router.heard, ['pcp 1 600', 'nat-pmp 0', 'nat-pmp 1 600', 'nat-pmp 1 0'])
  assert.equal(mapping.external, undefined)
})

test('a mapping is renewed before it ends, and a change is told', { skip }, async (t) => {
  let address = OUTSIDE
  const { mapper } = await network(t, { natPmp: (request) => grant(request, address, 1) })
  const seen: string[] = []
  const changed = new Promise<void>((resolve) => {
    const mapping = mapper.map(PORT)
    mapping.onExternal((external) => {
      seen.push(external.address)
      address = '203.0.113.6'
      if (seen.length === 2) resolve()
    })
  })
  await changed
  assert.deepEqual(seen, [OUTSIDE, '203.0.113.6'])
})

test('a lifetime of a century is not renewed all the time', { skip }, async (t) => {
  const { router, mapper } = await network(t, {
    natPmp: (request) =>
      request.readUInt8(1) === 0
        ? grant(request, OUTSIDE)
        : [natPmpAnswer(1, { internal: request.readUInt16BE(4), external: PORT, lifetime: 0xffffffff })],
  })
  await asked(mapper.map(PORT))
  await (await asked(mapper.map(PORT + 1))).release()
  await asked(mapper.map(PORT + 2))
  assert.equal(router.heard.filter((what) => what === 'nat-pmp 1 600').length, 3)
})

test('two that want one port share its mapping, and the last one gives it back', { skip }, async (t) => {
  const { router, mapper } = await network(t, { natPmp: (request) => grant(request, OUTSIDE) })
  const [one, other] = [await asked(mapper.map(PORT)), await asked(mapper.map(PORT))]
  await one.release()
  await one.release()
  assert.deepEqual(other.external, { address: OUTSIDE, port: PORT })
  await other.release()
  assert.deepEqual(router.heard, ['pcp 1 600', 'nat-pmp 0', 'nat-pmp 1 600', 'nat-pmp 1 0'])
})

test('a port that is wanted again is asked for when it has been given back', { skip }, async (t) => {
  const { router, mapper } = await network(t, { natPmp: (request) => grant(request, OUTSIDE) })
  const first = await asked(mapper.map(PORT))
  void first.release()
  await asked(mapper.map(PORT))
  const maps = router.heard.filter((what) => what.startsWith('nat-pmp 1'))
  assert.deepEqual(maps, ['nat-pmp 1 600', 'nat-pmp 1 0', 'nat-pmp 1 600'])
})

test('what is left alone ends by itself: nothing is given back', { skip }, async (t) => {
  const { router, mapper } = await network(t, { natPmp: (request) => grant(request, OUTSIDE) })
  const mapping = await asked(mapper.map(PORT))
  mapping.abandon()
  await mapper.settled()
  assert.equal(router.heard.at(-1), 'nat-pmp 1 600')
})

test('whoever lets go while the router thinks gets nothing, and leaves nothing behind', {
  skip,
}, async (t) => {
  const { router, mapper } = await network(t, { natPmp: () => [] })
  const mapping = mapper.map(PORT)
  await mapping.release()
  await mapping.asked
  assert.equal(mapping.external, undefined)
  assert.ok(!router.heard.includes('nat-pmp 1 0'))
})

/** A table of mappings behind NAT-PMP and PCP, in which who asks last owns one, as miniupnpd has it. */
class Table {
  readonly owners = new Map<number, string>()

  natPmp(request: Buffer): Buffer[] {
    if (request.readUInt8(1) !== 0) this.#set(request.readUInt16BE(4), request.readUInt32BE(8), 'NAT-PMP')
    return grant(request, OUTSIDE)
  }

  pcp(request: Buffer): Buffer[] {
    const internal = request.readUInt16BE(40)
    const nonce = request.subarray(24, 36).toString('hex')
    const owner = this.owners.get(internal)
    if (owner !== undefined && owner !== nonce) return [pcpAnswer(request, { result: 2 })]
    this.#set(internal, request.readUInt32BE(4), nonce)
    return [pcpAnswer(request, { address: OUTSIDE })]
  }

  #set(internal: number, lifetime: number, owner: string): void {
    if (lifetime === 0) this.owners.delete(internal)
    else this.owners.set(internal, owner)
  }
}

test('PCP: who lets go while the router thinks leaves nothing behind', { skip }, async (t) => {
  const table = new Table()
  const [heard, answered] = [new Signal(), new Signal()]
  const { mapper } = await network(t, {
    pcp: async (request) => {
      const answers = table.pcp(request)
      heard.give()
      if (request.readUInt32BE(4) > 0) await answered.given
      return answers
    },
  })
  const mapping = mapper.map(PORT)
  await heard.given
  assert.equal(table.owners.size, 1)
  await mapping.release()
  assert.equal(table.owners.size, 0)
  answered.give()
})

test('NAT-PMP, which PCP has outrun, takes the mapping over: it is given back all the same', {
  skip,
}, async (t) => {
  const table = new Table()
  const natPmp = new Signal()
  const { mapper, log } = await network(t, {
    pcp: async (request) => {
      const answers = table.pcp(request)
      if (request.readUInt32BE(4) > 0) await natPmp.given
      return answers
    },
    natPmp: (request) => {
      const answers = table.natPmp(request)
      if (request.readUInt8(1) === 0) return answers
      natPmp.give()
      return request.readUInt32BE(8) > 0 ? [] : answers
    },
  })
  const mapping = await asked(mapper.map(PORT))
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  assert.deepEqual([...table.owners.values()], ['NAT-PMP'])
  await mapping.release()
  assert.equal(table.owners.size, 0)
  assert.equal(log.count(/^info port mapping \S+ removed/), 1)
  assert.equal(log.count(/^warn /), 0)
})

test('UPnP: who lets go while the router thinks leaves nothing behind', { skip }, async (t) => {
  const mappings = new Mappings()
  const [heard, answered] = [new Signal(), new Signal()]
  const usual = upnp().http
  const { mapper } = await network(t, {
    ...upnp(),
    http: async (request) => {
      const answer = mappings.answer(request)
      if (request.action === 'AddPortMapping') {
        heard.give()
        await answered.given
      }
      return answer ?? (await usual?.(request)) ?? { body: '' }
    },
  })
  const mapping = mapper.map(PORT)
  await heard.given
  assert.equal(mappings.held.size, 1)
  const released = mapping.release()
  answered.give()
  await released
  assert.equal(mappings.held.size, 0)
})

test('UPnP, which PCP has outrun, takes back what it was granted', { skip }, async (t) => {
  const table = new Table()
  const mappings = new Mappings()
  const added = new Signal()
  const usual = upnp().http
  const { mapper } = await network(t, {
    ...upnp(),
    pcp: async (request) => {
      const answers = table.pcp(request)
      if (request.readUInt32BE(4) > 0) await added.given
      return answers
    },
    http: async (request) => {
      const answer = mappings.answer(request)
      if (request.action === 'AddPortMapping') added.give()
      return answer ?? (await usual?.(request)) ?? { body: '' }
    },
  })
  const mapping = await asked(mapper.map(PORT))
  assert.equal(mappings.held.size, 1)
  await mapping.release()
  assert.deepEqual([table.owners.size, mappings.held.size], [0, 0])
})

test('a router that speaks UPnP alone is not waited for in other protocols when it is over', {
  skip,
}, async (t) => {
  const { mapper, router } = await network(t, { ...upnp(), natPmp: () => [], pcp: () => [] })
  const mapping = await asked(mapper.map(PORT))
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  await mapping.release()
  assert.ok(router.heard.includes('DeletePortMapping'))
})

for (const [what, answer] of Object.entries({
  'of two bytes': () => [Buffer.from([0, 128])],
  'of nothing': () => [Buffer.alloc(0)],
  'for another port': (request: Buffer) =>
    request.readUInt8(1) === 0
      ? grant(request, OUTSIDE)
      : [natPmpAnswer(1, { internal: PORT + 1, external: PORT + 1 })],
  'to a question that nobody asked': () => [natPmpAnswer(2, { internal: PORT, external: PORT })],
})) {
  test(`NAT-PMP: an answer ${what} is passed over, and a good one counts`, { skip }, async (t) => {
    let first = true
    const { mapper } = await network(t, {
      natPmp: (request) => {
        const bad = first ? answer(request) : []
        first = request.readUInt8(1) === 0 && first
        return [...bad, ...grant(request, OUTSIDE)]
      },
    })
    const mapping = await asked(mapper.map(PORT))
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  })
}

for (const address of ['0.0.0.0', '127.0.0.1', '169.254.1.1', '224.0.0.1', '255.255.255.255']) {
  test(`an external address of ${address} is not believed`, { skip }, async (t) => {
    const { mapper } = await network(t, {
      ...upnp({ GetExternalIPAddress: () => ({ body: soap('x', { NewExternalIPAddress: address }) }) }),
      natPmp: (request) => grant(request, address),
    })
    assert.equal((await asked(mapper.map(PORT))).external, undefined)
  })
}

test("a router behind a carrier's NAT is believed: who is behind the same one can use it", {
  skip,
}, async (t) => {
  const { mapper } = await network(t, { natPmp: (request) => grant(request, '100.64.3.2') })
  assert.deepEqual((await asked(mapper.map(PORT))).external, { address: '100.64.3.2', port: PORT })
})

test('UPnP: a router of version 1 maps a port with a lease, and takes it back', { skip }, async (t) => {
  let added = ''
  const note = ({ body }: FakeRequest) => {
    added = body
    return undefined
  }
  const { router, mapper } = await network(t, upnp({ AddPortMapping: note }))
  const mapping = await asked(mapper.map(PORT))
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  assert.match(added, /<NewInternalClient>127\.0\.0\.1</)
  assert.match(added, /<NewProtocol>UDP</)
  assert.match(added, /<NewLeaseDuration>600</)
  await mapping.release()
  assert.deepEqual(router.heard, [
    '/description.xml',
    'GetExternalIPAddress',
    'AddPortMapping',
    'GetSpecificPortMappingEntry',
    'DeletePortMapping',
  ])
})

test('UPnP: a port that is taken outside is mapped to another one', { skip }, async (t) => {
  const { mapper } = await network(
    t,
    upnp({
      AddPortMapping: ({ body }) =>
        body.includes(`<NewExternalPort>${PORT}<`) ? { status: 500, body: soapFault(718) } : undefined,
    }),
  )
  const { external } = await asked(mapper.map(PORT))
  assert.equal(external?.address, OUTSIDE)
  assert.notEqual(external?.port, PORT)
})

for (const [what, options] of Object.entries({
  elsewhere: { location: () => 'http://127.0.0.1:9/description.xml' },
  'under a name': { location: () => 'http://router.example/description.xml' },
  'over https': { location: (url: string) => url.replace('http', 'https') },
  'with a password': { location: (url: string) => url.replace('//', '//a:b@') },
})) {
  test(`UPnP: a description ${what} is not fetched`, { skip }, async (t) => {
    const { router, mapper } = await network(t, { ...upnp(), ...options })
    const mapping = mapper.map(PORT)
    // another protocol that declines at once shows that the search has begun
    await Promise.race([
      mapping.asked,
      new Promise((resolve) => systemClock.timer(300, () => resolve(undefined))),
    ])
    await mapping.release()
    assert.equal(mapping.external, undefined)
    assert.deepEqual(router.heard, [])
  })
}

test('UPnP: a service that is controlled elsewhere is not used', { skip }, async (t) => {
  const { router, mapper } = await network(
    t,
    upnp({ '/description.xml': () => ({ body: description(IP_CONNECTION, 'http://127.0.0.1:9/control') }) }),
    hurried(8),
  )
  assert.equal((await asked(mapper.map(PORT))).external, undefined)
  assert.deepEqual(router.heard, ['/description.xml'])
})

test('UPnP: a description of many megabytes is given up, and a redirection is not followed', {
  skip,
}, async (t) => {
  const huge = await network(
    t,
    upnp({ '/description.xml': () => ({ body: '<service>'.repeat(3_000_000) }) }),
    hurried(8),
  )
  assert.equal((await asked(huge.mapper.map(PORT))).external, undefined)
  await huge.router.stop()
  const away = await network(
    t,
    {
      ...upnp(),
      http: () => ({ status: 302, headers: { location: 'http://127.0.0.1:9/' }, body: '' }),
    },
    hurried(8),
  )
  assert.equal((await asked(away.mapper.map(PORT))).external, undefined)
  assert.deepEqual(away.router.heard, ['/description.xml'])
})

test('a router that maps nothing is not asked at each pairing', { skip }, async (t) => {
  const refuse = (request: Buffer) => [natPmpAnswer(request.readUInt8(1), { result: 2 })]
  const { router, mapper, log } = await network(
    t,
    {
      natPmp: refuse,
      location: (url) => `${url}/`,
      http: () => ({ body: '<root></root>' }),
    },
    hurried(8),
  )
  await asked(mapper.map(PORT))
  const heard = router.heard.length
  await asked(mapper.map(PORT + 1))
  assert.equal(router.heard.length, heard)
  assert.equal(log.count(/did not map ports when asked a while ago/), 1)
})
