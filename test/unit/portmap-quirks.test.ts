import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { platform } from 'node:os'
import { type TestContext, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/cli/clock.js'
import type { Clock } from '../../src/net/index.js'
import { PortMapper } from '../../src/portmap/index.js'
import {
  description,
  type FakeRequest,
  FakeRouter,
  type FakeRouterOptions,
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

// What routers in the field are known to do, as miniupnpc's changelog and the issues of its users tell.

const OUTSIDE = '100.64.5.5'
const PORT = 40_000
const IP_CONNECTION = 'urn:schemas-upnp-org:service:WANIPConnection:1'
const PPP_CONNECTION = 'urn:schemas-upnp-org:service:WANPPPConnection:1'

const skip = platform() === 'linux' ? false : 'only Linux has all of 127.0.0.0/8 on loopback'

type Answer = { status?: number; headers?: Record<string, string>; body: string }

/** A router that does everything as the standard has it. */
class Standard {
  readonly mappings = new Mappings()

  answer(request: FakeRequest): Answer {
    if (request.action === 'GetExternalIPAddress') {
      return { body: soap(request.action, { NewExternalIPAddress: OUTSIDE }) }
    }
    return this.mappings.answer(request) ?? { body: description(IP_CONNECTION, '/control') }
  }

  options(change: (request: FakeRequest) => Answer | undefined = () => undefined): FakeRouterOptions {
    return {
      location: (url) => `${url}/description.xml`,
      http: (request) => change(request) ?? this.answer(request),
    }
  }
}

async function network(t: TestContext, options: FakeRouterOptions, clock: Clock = systemClock) {
  const router = await FakeRouter.start(options)
  const log = new MemoryLog()
  const gateway = async () => ({ address: ROUTER, own: OWN })
  const mapper = new PortMapper({ clock, random: systemRandom, log, gateway })
  t.after(async () => {
    await mapper.close()
    await router.stop()
  })
  return { router, mapper, log }
}

/** The bytes of an answer in the form that a web server of a router gives it. */
type Form = (body: string) => string

const HTTP: Readonly<Record<string, Form>> = {
  'with lines that end in LF alone': (body) => `HTTP/1.1 200 OK\nContent-Length: ${body.length}\n\n${body}`,
  'with a header line without a colon': (body) =>
    `HTTP/1.1 200 OK\r\nServer Router\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  'with a folded header': (body) =>
    `HTTP/1.1 200 OK\r\nServer: Router\r\n  UPnP/1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  'with a length that is too small': (body) => `HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n${body}`,
  'with a length that is too large': (body) => `HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n${body}`,
  'with a length that is no number': (body) => `HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n${body}`,
  'with two lengths': (body) =>
    `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nContent-Length: 7\r\n\r\n${body}`,
  'without a length': (body) => `HTTP/1.0 200 OK\r\n\r\n${body}`,
  'without a reason': (body) => `HTTP/1.1 200\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  'in small letters': (body) => `http/1.1 200 ok\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  'after an interim answer': (body) =>
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  'in chunks': (body) => {
    const chunk = (text: string) => `${text.length.toString(16)} ; x\r\n${text}\r\n`
    return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(body.slice(0, 50))}${chunk(body.slice(50))}0\r\n\r\n`
  },
  'in chunks without the last one': (body) =>
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}`,
  'said to be in chunks, and not': (body) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
  'with white space around the names of headers': (body) =>
    `HTTP/1.1 200 OK\r\nContent-Length : ${body.length}\r\n\r\n${body}`,
}

for (const [what, form] of Object.entries(HTTP)) {
  for (const end of [true, false]) {
    test(`HTTP ${what}, and the connection ${end ? 'closes' : 'stays open'}`, { skip }, async (t) => {
      const standard = new Standard()
      const { mapper } = await network(
        t,
        {
          location: (url) => `${url}/description.xml`,
          raw: (request) => ({ bytes: form(standard.answer(request).body), end }),
        },
        end ? systemClock : hurried(4),
      )
      const mapping = mapper.map(PORT)
      await mapping.asked
      assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
      await mapping.release()
      assert.equal(standard.mappings.held.size, 0)
    })
  }
}

for (const [what, bytes] of Object.entries({
  'that is no HTTP': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
  'that is empty': '',
  'of a head alone': 'HTTP/1.1 200 OK\r\nServer: Router\r\n',
  'without an end': `HTTP/1.1 200 OK\r\n\r\n${'<x>'.repeat(60_000)}`,
})) {
  test(`an answer ${what} is no mapping`, { skip }, async (t) => {
    const { mapper } = await network(
      t,
      {
        location: (url) => `${url}/description.xml`,
        raw: () => ({ bytes }),
      },
      hurried(8),
    )
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.equal(mapping.external, undefined)
  })
}

test('header names are written as the standard spells them, and all comes in one piece', {
  skip,
}, async (t) => {
  const standard = new Standard()
  const { mapper } = await network(t, {
    location: (url) => `${url}/description.xml`,
    raw: (request) => {
      const { head = '', action, body } = request
      const known =
        action === '' || (/^SOAPAction: "urn:[^"]+"\r?$/m.test(head) && /^Content-Length: \d+\r$/m.test(head))
      assert.ok(action === '' || body !== '')
      const answer = known ? standard.answer(request) : { status: 500, body: soapFault(401) }
      return { bytes: `HTTP/1.1 ${answer.status ?? 200} OK\r\n\r\n${answer.body}` }
    },
  })
  const mapping = mapper.map(PORT)
  await mapping.asked
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
})

test('a router that resets the connection after its answer has answered', { skip }, async (t) => {
  const standard = new Standard()
  const { mapper } = await network(t, {
    location: (url) => `${url}/description.xml`,
    raw: (request) => ({ bytes: `HTTP/1.1 200 OK\r\n\r\n${standard.answer(request).body}`, reset: true }),
  })
  const mapping = mapper.map(PORT)
  await mapping.asked
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
})

const responds = (action: string, text: string) => (request: FakeRequest) =>
  request.action === action ? { body: text } : undefined

/** Answers that are no mapping, although their status says 200. */
const NO_MAPPING: Readonly<Record<string, (request: FakeRequest) => Answer | undefined>> = {
  'a fault in status 200': responds('AddPortMapping', soapFault(718)),
  'a fault without a code': responds(
    'AddPortMapping',
    '<s:Envelope><s:Body><s:Fault><faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>',
  ),
  'a login page': responds(
    'AddPortMapping',
    '<html><body><form action="/login">Password</form></body></html>',
  ),
  'an empty body': responds('AddPortMapping', ''),
  'an answer to another action': responds('AddPortMapping', soap('GetStatusInfo', {})),
  'the request sent back': ({ action, body }) => (action === 'AddPortMapping' ? { body } : undefined),
  'a mapping that it does not hold': responds('AddPortMapping', soap('AddPortMapping', {})),
  'a mapping to another machine': responds(
    'GetSpecificPortMappingEntry',
    soap('GetSpecificPortMappingEntry', { NewInternalClient: '127.0.0.9', NewInternalPort: `${PORT}` }),
  ),
  'a mapping to another port': responds(
    'GetSpecificPortMappingEntry',
    soap('GetSpecificPortMappingEntry', { NewInternalClient: OWN, NewInternalPort: `${PORT + 1}` }),
  ),
  'a mapping that is switched off': responds(
    'GetSpecificPortMappingEntry',
    soap('GetSpecificPortMappingEntry', {
      NewInternalClient: OWN,
      NewInternalPort: `${PORT}`,
      NewEnabled: '0',
    }),
  ),
}

for (const [what, change] of Object.entries(NO_MAPPING)) {
  test(`UPnP: ${what} is no mapping`, { skip }, async (t) => {
    const standard = new Standard()
    const { mapper } = await network(t, standard.options(change))
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.equal(mapping.external, undefined)
    assert.equal(standard.mappings.held.size, 0)
  })
}

/** Ways to say yes. */
const YES: Readonly<Record<string, (request: FakeRequest) => Answer | undefined>> = {
  'in an element without content': (request) =>
    request.action === 'AddPortMapping'
      ? { body: '<S:Envelope><S:Body><m:AddPortMappingResponse xmlns:m="x"/></S:Body></S:Envelope>' }
      : undefined,
  'without prefixes, in capitals': (request) =>
    request.action === 'AddPortMapping'
      ? { body: '<ENVELOPE><BODY><ADDPORTMAPPINGRESPONSE></ADDPORTMAPPINGRESPONSE></BODY></ENVELOPE>' }
      : undefined,
  'behind a byte order mark and blank lines': (request) =>
    request.action === 'AddPortMapping' ? { body: `\ufeff\r\n\r\n${soap('AddPortMapping', {})}` } : undefined,
  'with end tags missing': (request) =>
    request.action === 'AddPortMapping'
      ? { body: '<s:Envelope><s:Body><u:AddPortMappingResponse></s:Body>' }
      : undefined,
}

for (const [what, change] of Object.entries(YES)) {
  test(`UPnP: a yes ${what} counts`, { skip }, async (t) => {
    const standard = new Standard()
    const { mapper } = await network(
      t,
      standard.options((request) => {
        if (request.action === 'AddPortMapping') standard.mappings.answer(request)
        return change(request)
      }),
    )
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  })
}

test('UPnP: a router that cannot be asked what it holds is believed', { skip }, async (t) => {
  const standard = new Standard()
  const { mapper } = await network(
    t,
    standard.options(({ action }) =>
      action === 'GetSpecificPortMappingEntry' ? { status: 500, body: soapFault(401) } : undefined,
    ),
  )
  const mapping = mapper.map(PORT)
  await mapping.asked
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
})

for (const code of [718, 729, 501]) {
  test(`UPnP: error ${code} for the port outside: another one is taken`, { skip }, async (t) => {
    const standard = new Standard()
    const taken = (body: string) => body.includes(`<NewExternalPort>${PORT}<`)
    const { mapper } = await network(
      t,
      standard.options(({ action, body }) =>
        action === 'AddPortMapping' && taken(body) ? { status: 500, body: soapFault(code) } : undefined,
      ),
    )
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.equal(mapping.external?.address, OUTSIDE)
    assert.notEqual(mapping.external?.port, PORT)
  })
}

for (const code of [402, 725]) {
  test(`UPnP: error ${code} for a lease: mapped without one, looked after, and given back`, {
    skip,
  }, async (t) => {
    const standard = new Standard()
    const { mapper, log } = await network(
      t,
      standard.options(({ action, body }) =>
        action === 'AddPortMapping' && !body.includes('<NewLeaseDuration>0<')
          ? { status: 500, body: soapFault(code) }
          : undefined,
      ),
    )
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
    assert.equal(log.count(/until it is removed/), 1)
    await mapping.release()
    assert.equal(standard.mappings.held.size, 0)
  })
}

test('UPnP: what a killed run left behind at a router without leases is given back, and nothing else', {
  skip,
}, async (t) => {
  const used = createSocket('udp4').bind(0, OWN)
  await once(used, 'listening')
  t.after(() => used.close())
  const free = createSocket('udp4').bind(0, OWN)
  await once(free, 'listening')
  const gone = free.address().port
  await new Promise<void>((done) => free.close(() => done()))
  const standard = new Standard()
  const entry = (external: number, internal: number, changes: Record<string, string> = {}) =>
    standard.mappings.held.set(external, {
      NewExternalPort: `${external}`,
      NewInternalPort: `${internal}`,
      NewInternalClient: OWN,
      NewProtocol: 'UDP',
      NewPortMappingDescription: 'plexus',
      ...changes,
    })
  entry(1001, gone)
  entry(1002, gone)
  entry(1003, used.address().port)
  entry(1004, gone, { NewPortMappingDescription: 'a game' })
  entry(1005, gone, { NewInternalClient: '127.0.0.9' })
  entry(1006, gone, { NewProtocol: 'TCP' })
  const { mapper } = await network(
    t,
    standard.options(({ action, body }) =>
      action === 'AddPortMapping' && !body.includes('<NewLeaseDuration>0<')
        ? { status: 500, body: soapFault(725) }
        : undefined,
    ),
  )
  await mapper.map(PORT).asked
  assert.deepEqual([...standard.mappings.held.keys()].sort(), [1003, 1004, 1005, 1006, PORT])
})

test('UPnP: a router that wants the same port inside and outside gets it', { skip }, async (t) => {
  const standard = new Standard()
  let first = true
  const { mapper } = await network(
    t,
    standard.options(({ action, body }) => {
      if (action !== 'AddPortMapping') return undefined
      // the port is taken at first, and any other one is refused
      const same = body.includes(`<NewExternalPort>${PORT}<`)
      const code = same ? (first ? 718 : 0) : 724
      first = false
      return code === 0 ? undefined : { status: 500, body: soapFault(code) }
    }),
  )
  const mapping = mapper.map(PORT)
  await mapping.asked
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
})

/** Descriptions, and where the service is controlled. */
const DESCRIBED: Readonly<Record<string, readonly [control: string, path: string, base?: string]>> = {
  'with an entity in its control URL': ['/ctl?a=1&amp;b=2', '/ctl?a=1&b=2'],
  'with a bare ampersand in it': ['/ctl?a=1&b=2', '/ctl?a=1&b=2'],
  'with CDATA in it': ['<![CDATA[/ctl?a=1&b=2]]>', '/ctl?a=1&b=2'],
  'with a relative URL': ['upnp/ctl', '/dir/upnp/ctl'],
  'with a relative URL that counts from the root': ['upnp/ctl', '/upnp/ctl'],
  'with an empty base': ['/ctl', '/ctl', '<URLBase></URLBase>'],
  'with the base of another host': ['/ctl', '/ctl', '<URLBase>http://192.168.178.1:49000/</URLBase>'],
  'with a base at a port where nobody is': ['/ctl', '/ctl', `<URLBase>http://${ROUTER}:9/</URLBase>`],
}

for (const [what, [control, path, base]] of Object.entries(DESCRIBED)) {
  test(`UPnP: a description ${what} leads to the service`, { skip }, async (t) => {
    const standard = new Standard()
    const { mapper } = await network(t, {
      location: (url) => `${url}/dir/description.xml`,
      http: (request) => {
        if (request.path === '/dir/description.xml')
          return { body: description(IP_CONNECTION, control, base) }
        return request.path === path
          ? standard.answer(request)
          : { status: 404, body: '<html>Not found</html>' }
      },
    })
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  })
}

for (const type of [
  IP_CONNECTION,
  PPP_CONNECTION,
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'URN:schemas-upnp-org:Service:WANIPConnection:1',
]) {
  test(`UPnP: a service of the type ${type} maps ports`, { skip }, async (t) => {
    const standard = new Standard()
    const { mapper } = await network(
      t,
      standard.options(({ path }) =>
        path === '/description.xml' ? { body: description(type, '/control') } : undefined,
      ),
    )
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  })
}

for (const known of ['upnp:rootdevice', IP_CONNECTION, PPP_CONNECTION, 'ssdp:all']) {
  test(`UPnP: a router that answers only to a search for ${known} is found`, { skip }, async (t) => {
    const standard = new Standard()
    const { mapper } = await network(t, {
      ...standard.options(),
      answersTo: (target) => target === known,
    })
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  })
}

test('UPnP: where the router is a media server too, its own description is found', { skip }, async (t) => {
  const standard = new Standard()
  let answers = 0
  const { mapper } = await network(t, {
    ...standard.options(({ path }) =>
      path === '/media.xml'
        ? { body: description('urn:schemas-upnp-org:service:ContentDirectory:1', '/media') }
        : undefined,
    ),
    location: (url) => `${url}/${answers++ === 0 ? 'media' : 'description'}.xml`,
  })
  const mapping = mapper.map(PORT)
  await mapping.asked
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
})

test('UPnP: what the router says about a refusal is told, on one line', { skip }, async (t) => {
  const standard = new Standard()
  const fault = soapFault(606).replace(
    '</errorCode>',
    '</errorCode><errorDescription>Not\nauthorized "here"</errorDescription>',
  )
  const { mapper, log } = await network(
    t,
    standard.options(({ action }) =>
      action === 'AddPortMapping' ? { status: 500, body: fault } : undefined,
    ),
  )
  await mapper.map(PORT).asked
  assert.equal(
    log.count(/does not allow this machine to do it, error 606 \(it says "Not authorized 'here'"\)/),
    1,
  )
})

test('PCP: a port is mapped, renewed under the same nonce, and given back', { skip }, async (t) => {
  const nonces = new Set<string>()
  const { router, mapper } = await network(t, {
    pcp: (request) => {
      nonces.add(request.subarray(24, 36).toString('hex'))
      const lifetime = request.readUInt32BE(4)
      return [pcpAnswer(request, { address: OUTSIDE, external: PORT + 1, lifetime: Math.min(lifetime, 1) })]
    },
  })
  const mapping = mapper.map(PORT)
  await mapping.asked
  assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT + 1 })
  while (router.heard.length < 2) await new Promise((done) => systemClock.timer(50, () => done(undefined)))
  await mapping.release()
  assert.deepEqual(new Set(router.heard), new Set(['pcp 1 600', 'pcp 1 0']))
  assert.equal(nonces.size, 1)
})

for (const [what, spoil] of Object.entries({
  'under another nonce': (answer: Buffer): unknown => answer.fill(7, 24, 36),
  'for another port': (answer: Buffer): unknown => answer.writeUInt16BE(PORT + 5, 40),
  'cut short': (answer: Buffer): unknown => answer.writeUInt8(6, 36),
})) {
  test(`PCP: an answer ${what} is passed over, and a good one counts`, { skip }, async (t) => {
    const { mapper } = await network(t, {
      pcp: (request) => {
        const bad = pcpAnswer(request, { address: '100.64.9.9' })
        spoil(bad)
        return [bad, pcpAnswer(request, { address: OUTSIDE })]
      },
    })
    const mapping = mapper.map(PORT)
    await mapping.asked
    assert.deepEqual(mapping.external, { address: OUTSIDE, port: PORT })
  })
}

for (const [result, why] of [
  [2, /by PCP: it is not allowed/],
  [8, /by PCP: it has no more room/],
  [12, /by PCP: it sees another address of this machine/],
] as const) {
  test(`PCP: result ${result} is told in words, and the next protocol is tried`, { skip }, async (t) => {
    const standard = new Standard()
    const { mapper, log } = await network(t, {
      ...standard.options(({ action }) =>
        action === 'AddPortMapping' ? { status: 500, body: soapFault(606) } : undefined,
      ),
      natPmp: (request) => [natPmpAnswer(request.readUInt8(1), { result: 2 })],
      pcp: (request) => [pcpAnswer(request, { result })],
    })
    await mapper.map(PORT).asked
    assert.equal(log.count(why), 1)
    assert.equal(log.count(/by UPnP: it does not allow this machine to do it/), 1)
  })
}
