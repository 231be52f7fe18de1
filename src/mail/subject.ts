import { decodeWords } from 'postal-mime'

/**
 * What gateways put around a subject: `[EXTERN]`, `***SPAM***`, `SUSPECT:`. It says nothing of who wrote the mail. What a
 * person's program puts there does: `Re:` and its like make it a mail of that person.
 */

/** The longest subject that is looked at, in characters: a few marks around what we wrote. */
const LONGEST = 512
/** The most marks that are taken off at each end. */
const MARKS = 8

/** How mail programs and answering machines begin, in the languages that were met; letters only, in lower case. */
const ANSWERS = new Set(
  `re r res resp aw antw antwort sv vs vast vá vl odp od ynt ref rif bls atb ats bvs ang ha hb ré rép απ σχετ
  回复 回覆 答复 答覆 返信 답장 رد תגובה ответ отв на fw fwd wg tr rv enc i pd pf doorst ilt továbbítás trs fs videresendt
  vidarebefordrat välitetty vb przekazano προθ 转发 轉寄 転送 전달 הועבר пересл read gelesen lu delivered zugestellt accepted declined
  tentative canceled cancelled recall undeliverable undelivered unzustellbar auto automatic autoreply autoantwort vacation`.split(
    /\s+/,
  ),
)
/** The same where there are several words. */
const ANSWERING =
  /\b(?:auto(?:matic|matische|mated)?[ -]?(?:reply|response|antwort)|out of (?:the )?office|abwesen\w*|réponse automatique|respuesta automática|risposta automatica|delivery status|undeliver\w*|unzustellbar|returned mail|mail delivery|forward(?:ed)?|weitergeleitet)\b/iu

/** A mark at the beginning; `word` is what it says. */
const BEFORE = [
  /^\[(?<word>[^[\]]{0,64})\]:?\s*/u,
  /^\((?<word>[^()]{0,64})\):?\s*/u,
  /^\{(?<word>[^{}]{0,64})\}:?\s*/u,
  /^<(?<word>[^<>]{0,64})>:?\s*/u,
  /^【(?<word>[^【】]{0,64})】\s*/u,
  // between signs, as in ***SPAM*** and _EXTERN_
  /^(?<sign>[*#!=_~+-]{1,8}) ?(?<word>[^*#!=_~+]{1,64}?) ?\k<sign>:?\s*/u,
  // words and a colon, a bar or a dash
  /^(?<word>[\p{L}\p{M}\p{N}\uFFFD][^[\](){}<>:|]{0,63}?)\s?(?::|\||»|[-–—] )\s*/u,
  // a word in capitals
  /^(?<word>\p{Lu}[\p{Lu}\p{N}?!./-]{2,23})\s/u,
  // signs alone, but none that quotes
  /^(?<word>(?![>"'»])[\p{P}\p{S}\p{M}\u200D]{1,8})\s+/u,
]
/** And one at the end. */
const BEHIND = [
  /\s*\[(?<word>[^[\]]{0,64})\]$/u,
  /\s*\((?<word>[^()]{0,64})\)$/u,
  /\s*\{(?<word>[^{}]{0,64})\}$/u,
  /\s*(?<sign>[*#!=_~+-]{1,8}) ?(?<word>[^*#!=_~+]{1,64}?) ?\k<sign>$/u,
]

/** The first subject of a header, decoded (RFC 2047) and in one line; undefined if it has none. */
export function subjectOf(header: string): string | undefined {
  const field = /^subject[ \t]*:((?:.*(?:\r?\n[ \t].*)*))/im.exec(header)?.[1]
  if (field === undefined || field.length > LONGEST * 4) return undefined
  const text = decodeWords(field.replace(/\r?\n(?=[ \t])/g, '').trim())
  return text.replace(/[\s\p{Cc}]+/gu, ' ').trim()
}

/** Reads a subject, also behind and before the marks of gateways, but not in the answer of a person or a machine. */
export function behindMarks<T>(subject: string, read: (text: string) => T | undefined): T | undefined {
  if (subject.length > LONGEST) return undefined
  let text: string | undefined = subject
  for (let before = 0; text !== undefined && before <= MARKS; before++) {
    let rest: string | undefined = text
    for (let behind = 0; rest !== undefined && behind <= MARKS; behind++) {
      const found = read(rest)
      if (found !== undefined) return found
      rest = without(rest, BEHIND)
    }
    text = without(text, BEFORE)
  }
  return undefined
}

function without(text: string, marks: readonly RegExp[]): string | undefined {
  for (const mark of marks) {
    const found = mark.exec(text)
    if (found === null) continue
    if (isAnswer(found.groups?.word ?? '')) return undefined
    return found.index === 0 ? text.slice(found[0].length) : text.slice(0, found.index)
  }
  return undefined
}

function isAnswer(word: string): boolean {
  const letters = word
    .toLowerCase()
    .replace(/[^\p{L}\p{M}]/gu, ' ')
    .trim()
  return ANSWERS.has(letters) || ANSWERING.test(word)
}
