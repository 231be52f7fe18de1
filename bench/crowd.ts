import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'

/** How many directories are made at a time. */
const BATCH = 200

/**
 * Fills a repository up to so many peers, a directory and a certificate each: the certificate of another peer, as what
 * is measured with them is what it costs that they are there.
 */
export async function crowd(repository: string, certificate: string, peers: number): Promise<void> {
  for (let first = 1; first < peers; first += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, peers - first) }, (_, index) => first + index)
    await Promise.all(
      numbers.map(async (number) => {
        const directory = join(repository, `peer${number}@px.test`, 'laptop')
        await mkdir(directory, { recursive: true })
        await copyFile(certificate, join(directory, 'cert.crt'))
      }),
    )
  }
}
