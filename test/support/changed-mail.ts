/** What gateways make of a mail on its way, as functions of the whole mail, and what people and machines answer to it. */

type Change = (mail: string) => string

const split = (mail: string): [header: string, body: string] => {
  const at = mail.indexOf('\r\n\r\n')
  return [mail.slice(0, at), mail.slice(at + 4)]
}
const field = (header: string, name: string) =>
  new RegExp(`^${name}:((?:.*(?:\\r\\n[ \\t].*)*))\\r?$`, 'im').exec(header)?.[1]?.trim() ?? ''
const subject =
  (of: (text: string) => string): Change =>
  (mail) => {
    const [header, body] = split(mail)
    const before = field(header, 'subject')
    return `${header.replace(/^Subject:.*$/m, () => `Subject: ${of(before)}`)}\r\n\r\n${body}`
  }
/** The headers that speak of the content, and the others. */
const divide = (header: string): [content: string, others: string] => {
  const fields = header.split(/\r\n(?![ \t])/)
  const content = fields.filter((each) => /^content-/i.test(each))
  return [content.join('\r\n'), fields.filter((each) => !content.includes(each)).join('\r\n')]
}
const wrapped =
  (type: string, parts: (entity: string, others: string) => string[]): Change =>
  (mail) => {
    const [header, body] = split(mail)
    const [content, others] = divide(header)
    const list = parts(`${content}\r\n\r\n${body}`, others).map((part) => `--=_gate\r\n${part}\r\n`)
    return `${others}\r\nContent-Type: ${type}; boundary="=_gate"\r\n\r\n${list.join('')}--=_gate--\r\n`
  }
const text = (words: string) => `Content-Type: text/plain; charset=utf-8\r\n\r\n${words}\r\n`
const recoded =
  (encoding: string, encode: (bytes: Buffer) => string): Change =>
  (mail) => {
    const [header, body] = split(mail)
    const bytes = Buffer.from(body, 'base64')
    return `${header.replace(/^(Content-Transfer-Encoding:).*$/m, `$1 ${encoding}`)}\r\n\r\n${encode(bytes)}\r\n`
  }
export const quotedPrintable = (bytes: Buffer) =>
  [...bytes]
    .map((byte) =>
      byte > 32 && byte < 127 && byte !== 61
        ? String.fromCharCode(byte)
        : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .reduce(
      (lines: string[], each) => {
        const last = lines.at(-1) ?? ''
        if (last.length + each.length > 75) lines.push(each)
        else lines[lines.length - 1] = last + each
        return lines
      },
      [''],
    )
    .join('=\r\n')
const words = (text: string, size = 30) =>
  (
    Buffer.from(text)
      .toString('base64')
      .match(new RegExp(`.{1,${size - (size % 4)}}`, 'g')) ?? []
  ).map((each) => `=?UTF-8?B?${each}?=`)

/** What was written is found in each of these. */
export const CHANGES: Readonly<Record<string, Change>> = {
  nothing: (mail) => mail,
  'a mark in brackets': subject((it) => `[EXTERN] ${it}`),
  'a mark with letters beyond ASCII': subject((it) => `${words('[EXTÉRNE ⚠ Ünbekannt]').join('')} ${it}`),
  'the same without an encoding': subject((it) => `[EXTÉRNE ⚠] ${it}`),
  'the whole subject encoded in base64': subject((it) => words(`[EXTERN] ${it}`).join('\r\n ')),
  'the whole subject encoded as Q': subject(
    (it) => `=?iso-8859-1?Q?[=C4u=DFere_Mail]_${it.replaceAll(' ', '_')}?=`,
  ),
  'two marks': subject((it) => `[SPAM?] *** EXTERNAL *** ${it}`),
  'a mark of a spam filter': subject((it) => `*****SPAM***** ${it}`),
  'a mark in braces': subject((it) => `{Spam?} ${it}`),
  'a mark with a colon': subject((it) => `EXTERNAL: ${it}`),
  'a sign': subject((it) => `⚠️ ${it}`),
  'a mark behind': subject((it) => `${it} [Spam score 5.2]`),
  'a folded subject': subject((it) => it.replace(/ /g, '\r\n\t')),
  'header names in capitals': (mail) => {
    const [header, body] = split(mail)
    return `${header.replace(/^[A-Za-z-]+:/gm, (name) => name.toUpperCase())}\r\n\r\n${body}`
  },
  'header names in small letters, without spaces': (mail) => {
    const [header, body] = split(mail)
    return `${header.replace(/^([A-Za-z-]+): /gm, (name) => name.toLowerCase().trim())}\r\n\r\n${body}`
  },
  'a footer as a part': wrapped('multipart/mixed', (entity) => [entity, text('This mail was scanned.')]),
  'a banner before it': wrapped('multipart/mixed', (entity) => [text('CAUTION: external sender'), entity]),
  'a footer behind the body': (mail) => `${mail}\r\n-- \r\nThis message may be confidential\r\n`,
  'wrapped as message/rfc822': (mail) =>
    wrapped('multipart/mixed', () => [
      text('Spam detection software says'),
      `Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n${mail}`,
    ])(mail),
  'wrapped twice': (mail) =>
    wrapped('multipart/mixed', () => [
      `Content-Type: message/rfc822; name="original.eml"\r\nContent-Disposition: inline\r\n\r\n${CHANGES['a footer as a part']?.(mail)}`,
    ])(mail),
  'encoded anew as quoted-printable': recoded('quoted-printable', quotedPrintable),
  'the same with a footer': (mail) =>
    `${recoded('quoted-printable', quotedPrintable)(mail)}-- \r\nfooter\r\n`,
  'base64 in lines of another length': recoded('BASE64', (bytes) =>
    (bytes.toString('base64').match(/.{1,60}/g) ?? []).join('\r\n'),
  ),
  'a name in pieces': (mail) =>
    mail
      .replace(
        /^Content-Disposition:.*$/m,
        'Content-Disposition: attachment;\r\n filename*0="mess";\r\n filename*1="age.pl";\r\n filename*2="exus"',
      )
      .replace(/; name="[^"]*"/, ''),
  'a name in percent signs': (mail) =>
    mail
      .replace(
        /^Content-Disposition:.*$/m,
        "Content-Disposition: attachment; filename*=utf-8''message%2Eplexus",
      )
      .replace(/; name="[^"]*"/, ''),
  'a name without quotes': (mail) => mail.replace(/="(message\.plexus|smime\.p7m)"/g, '=$1'),
  'lines that end in LF alone': (mail) => mail.replaceAll('\r\n', '\n'),
  'more headers before and behind': (mail) =>
    `Received: from a by b;\r\n\tMon, 1 Jan 2024 00:00:00 +0000\r\nX-Spam-Flag: NO\r\n${mail.replace('\r\n\r\n', '\r\nX-Footer: 1\r\n\r\n')}`,
}

const by = (mail: string, before: string, more = '') =>
  subject((it) => `${before}${it}`)(mail).replace('\r\n\r\n', `\r\n${more}\r\n\r\n`)
const reply = (mail: string, before: string) => {
  const [header] = split(mail)
  return [
    `From: ${field(header, 'to')}`,
    `To: ${field(header, 'from')}`,
    `Subject: ${before}${field(header, 'subject')}`,
    'Content-Type: text/plain',
    '',
    'What is this? Please call me.',
    '',
  ].join('\r\n')
}

/** None of these is ours, and all of them stay. */
export const ANSWERS: Readonly<Record<string, Change>> = {
  'a reply that quotes the subject': (mail) => reply(mail, 'Re: '),
  'a reply in German': (mail) => reply(mail, 'AW: '),
  'a counted reply': (mail) => reply(mail, 'Re[2]: '),
  'a reply behind a mark': (mail) => reply(mail, '[EXTERN] Re: '),
  'a mail with the same subject and no attachment': (mail) => reply(mail, ''),
  'a mail that speaks of it': (mail) => reply(mail, 'please look at '),
  'the same behind a mark': (mail) => reply(mail, '[EXTERN] '),
  'a mail passed on with its attachment': (mail) => by(mail, 'Fwd: '),
  'the same without a word before it': (mail) => by(mail, '', 'References: <0@example.com>'),
  'a reply that kept the attachment': (mail) => by(mail, '', 'In-Reply-To: <0@example.com>'),
  'an answering machine': (mail) => reply(mail, 'Automatic reply: '),
  'an answering machine that keeps the subject as it is': (mail) =>
    reply(mail, '').replace('Content-Type', 'Auto-Submitted: auto-replied\r\nContent-Type'),
  'a report of what could not be delivered': (mail) =>
    wrapped('multipart/report; report-type=delivery-status', () => [
      text('It could not be delivered.'),
      'Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; example.com\r\n',
      `Content-Type: message/rfc822\r\n\r\n${mail}`,
    ])(mail),
  'an attachment of another name': (mail) =>
    reply(mail, '').replace('text/plain', 'application/octet-stream; name="report.pdf"'),
}
