import { PlexusError } from '../errors/index.js'
import type { Service } from './description.js'
import { ask } from './http.js'
import type { MapperContext } from './protocol.js'
import { type Element, elementsOf, parseXml, textOf } from './xml.js'

/** What error codes mean (UPnP Device Architecture 1.1 table 3-3; WANIPConnection 2 table 2-21; WANIPv6FirewallControl 1). */
const MEANINGS: Readonly<Record<number, string>> = {
  401: 'it does not know the action',
  402: 'it rejects an argument',
  404: 'the service is not there',
  501: 'the action failed',
  602: 'it does not have the action',
  606: 'it does not allow this machine to do it',
  701: 'there is no such entry',
  702: 'its firewall is off',
  703: 'it does not allow pinholes',
  704: 'it has no such pinhole',
  708: 'it wants a protocol for each pinhole',
  714: 'it has no such mapping',
  718: 'the port is taken',
  724: 'the internal and external ports must be the same',
  725: 'it only maps permanently',
  726: 'it maps for every remote host only',
  727: 'it only maps all ports',
  728: 'it has no more room',
  729: 'the port is taken by another mechanism',
}

/** Stands for a fault that names no code. */
const FAULT = 501

/** The router has understood, and declines. */
export class Refusal extends PlexusError {
  /** The error code of UPnP, or the status of HTTP where there is none. */
  readonly number: number

  constructor(number: number, words: string) {
    const meaning = MEANINGS[number]
    const said = words === '' ? '' : ` (it says "${words}")`
    super(
      'PORT_MAPPING',
      `The router did not map the port by UPnP: ${meaning === undefined ? '' : `${meaning}, `}error ${number}${said}.`,
    )
    this.number = number
  }
}

/**
 * Calls an action (UPnP Device Architecture 1.1, section 3.1.1). Only an answer that says in its body that it is the answer
 * to this action counts, whatever its status: fault and login pages come in status 200 as well.
 * @param words every one a number, or text of our own
 * @returns the element with what the action gives back
 * @throws Refusal if the router declines; PlexusError PORT_MAPPING if it does not answer, or not to this
 */
export async function call(
  context: MapperContext,
  { type, control }: Service,
  action: string,
  words: Readonly<Record<string, string | number>>,
  signal: AbortSignal,
): Promise<Element> {
  const elements = Object.entries(words).map(([name, value]) => `<${name}>${value}</${name}>`)
  const body =
    '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
    `<u:${action} xmlns:u="${type}">${elements.join('')}</u:${action}></s:Body></s:Envelope>\r\n`
  const { status, text } = await ask(context, control, { action: `${type}#${action}`, body }, signal)
  const document = parseXml(text)
  const code = Number(textOf(document, 'errorCode'))
  const fault = elementsOf(document, 'Fault').length > 0 || elementsOf(document, 'UPnPError').length > 0
  if (fault || status >= 400) {
    throw new Refusal(code > 0 ? code : status >= 400 ? status : FAULT, wordsOf(document))
  }
  const [answer] = elementsOf(document, `${action}Response`)
  if (!answer) {
    throw new PlexusError(
      'PORT_MAPPING',
      `The router's answer to ${action} is not an answer to it (status ${status}).`,
    )
  }
  return answer
}

/** The router's own words about an error, fit for a line of a log. */
function wordsOf(document: Element): string {
  const words = textOf(document, 'errorDescription') || textOf(document, 'faultstring') || ''
  return words
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replaceAll('"', "'")
    .slice(0, 80)
    .trim()
}
