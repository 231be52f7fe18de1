export { type Flag, readDatagram, writeDatagram } from './datagram.js'
export { type HandshakeDriverOptions, handshake } from './driver.js'
export { Handshake, type HandshakeOptions, type HandshakeState, type HandshakeTransmit } from './handshake.js'
export {
  findEntity,
  formatAddress,
  formatSubject,
  type Plexus3Head,
  type Plexus3Mail,
  readAddress,
  readBody,
  readHead,
  readMail,
  readPlain,
  readSubject,
  writeBody,
  writeMail,
} from './mail.js'
export {
  type Dependence,
  type Firewall,
  type PeerMessage,
  readMessage,
  secretOf,
  writeMessage,
} from './message.js'
export { type Opened, openEntity, requireRsa, sealEntity } from './smime.js'
