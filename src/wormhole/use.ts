import { isIPv6 } from 'node:net'
import { formatEndpoint } from '../net/index.js'
import type { Service } from './service.js'

/** How to use an imported service, in the words of the shell where its name tells what it is. */
export function useOf(name: string, service: Service): string {
  if (service.kind === 'unix') return `${name} at ${service.path}`
  const at = formatEndpoint({ address: service.host, port: service.port })
  const host = isIPv6(service.host) ? `[${service.host}]` : service.host
  switch (service.kind === 'tcp' ? name.toLowerCase() : '') {
    case 'ssh':
    case 'sftp':
    case '22':
      return `ssh -p ${service.port} ${service.host}`
    case 'web':
    case 'http':
    case '80':
    case '8080':
      return `http://${host}:${service.port}/`
    case 'https':
    case '443':
      return `https://${host}:${service.port}/`
    case 'postgres':
    case 'postgresql':
    case '5432':
      return `psql -h ${service.host} -p ${service.port}`
    default:
      return `${name} at ${service.kind === 'udp' ? 'udp:' : ''}${at}`
  }
}
