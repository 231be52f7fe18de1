/** Port mappings on the router of this network, for the time that they are needed. */
export { defaultGateway, type Gateway } from './gateway.js'
export { PortMapper, type PortMapperOptions, type PortMapping } from './mapper.js'
