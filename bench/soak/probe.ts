/**
 * Loaded into the accepter that is looked at: at SIGUSR2 it collects its garbage and writes what it holds, a line of
 * JSON, to the file that SOAK_PROBE names. With SOAK_SNAPSHOTS, a folder, it leaves a heap snapshot there each time.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import v8 from 'node:v8'
import vm from 'node:vm'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc') as () => void
const { SOAK_PROBE = '', SOAK_SNAPSHOTS = '' } = process.env
let looks = 0

process.on('SIGUSR2', () => {
  const lying = process.memoryUsage()
  for (let time = 0; time < 4; time++) collect()
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage()
  looks++
  if (SOAK_SNAPSHOTS !== '') v8.writeHeapSnapshot(join(SOAK_SNAPSHOTS, `${looks}.heapsnapshot`))
  const native = Number(
    /^(?:[0-9a-f-]+) .*\[heap\]\n(?:.*\n){1,3}?Rss:\s+(\d+)/m.exec(
      readFileSync('/proc/self/smaps', 'utf8'),
    )?.[1] ?? 0,
  )
  const record = {
    native: native * 1024,
    spaces: v8
      .getHeapSpaceStatistics()
      .map(({ space_name: name, physical_space_size: size }) => `${name} ${(size / 1_048_576).toFixed(1)}`)
      .join(' '),
    before: lying.rss,
    rss,
    heapUsed,
    external,
    arrayBuffers,
  }
  appendFileSync(SOAK_PROBE, `${JSON.stringify(record)}\n`)
})
