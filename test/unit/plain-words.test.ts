import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ROOT } from '../support/readme.js'

// Turns of phrase that readers stumbled over, and what to write instead. What people read is held to them: the documents, the
// man page, the help, and every sentence that the program says.

const ODD: readonly (readonly [RegExp, string])[] = [
  [/\bthe own\b/i, 'your'],
  [/\bof the own\b/i, 'your'],
  [/\b(?:an|its|one's) own identity\b/i, 'your identity'],
  [/\bof one's own\b/i, 'your own'],
  [/\blet it go\b/i, 'start it detached, or release it'],
  [/\bleads? (?:a |the |some )?(?:ports?|services?|streams?)\b/i, 'forward'],
  [/\bnarrows? it\b/i, 'limit'],
  [/\bmust outlast\b|\bshould outlast\b/i, 'persistent'],
  [/\basks? no router\b/i, 'do not ask the router'],
  [/\bmore for its environment\b/i, 'environment variables to add'],
  [/\bword is missing\b/i, 'missing argument'],
  [/\btunnels? stands?\b/i, 'tunnel up'],
  [/\bnobody else in it yet\b/i, 'no peers yet'],
  [/\bas often as one likes\b/i, 'repeatable'],
  [/^#+ Its life$/im, 'name the subject'],
  [/\bin no order\b/i, 'random'],
  [/\w unasked\b|\bunasked \w/i, 'unsolicited'],
  [/\bpublic endpoint [^ ]+, says\b/i, 'reported by'],
  [/\bsent again\b/i, 'retransmitted'],
  [/\btaken out of the repository\b/i, 'removed from the repository'],
  [/\bis tried again\b/i, 'Retrying.'],
  [/(?<=\S)['`] is no (?:command|flag|terminal|number|path|name|address)\b/i, 'is not a …'],
  [/\bWas --[a-z-]+ meant\b/i, 'Did you mean …?'],
  [/\bnobody can be asked\b/i, 'cannot ask for confirmation'],
  [/\bonly --accept does not\b/i, 'say what is needed'],
  [/\bmends? itself\b/i, 'recovers'],
  [/\bon a stick\b(?<!USB stick)/i, 'on a USB stick'],
  [/\bbears? a few\b|\bmust bear\b/i, 'tolerate, ignore'],
  [/\bwhat an abort was the reason of\b/i, 'caused by an abort'],
  [/\bcomes? about\b|\bcame about\b/i, 'happens, comes up'],
  [/\bdoes its worst\b/i, 'attacks'],
  [/\bgives? much up\b/i, 'is weaker'],
  [/\bspoken? with as\b/i, 'use'],
  [/\bturn(?:s|ed)? round\b/i, 'change, replace'],
  [/\bat the time being\b/i, 'for now'],
  [/\bidentity anew\b/i, 'again'],
  [/\bthe command has to bear\b|\bto bear (?:loss|both)\b/i, 'tolerate'],
  [/\banswered usefully\b/i, 'gave a usable answer'],
  [/\bbroke the connection off\b/i, 'aborted'],
  [/\bcame of them\b|\bcame of it\b/i, 'the result'],
  [/\bsays? it how it stands\b|\bhow it stands\b/i, 'state'],
]

/** The documents that people read. */
function documents(): [string, string][] {
  const docs = readdirSync(join(ROOT, 'docs')).filter((name) => /\.(?:md|1)$/.test(name))
  const names = [
    'README.md',
    'CHANGELOG.md',
    'apprepo.example/README.md',
    ...docs.map((name) => `docs/${name}`),
  ]
  return names.map((name) => [name, readFileSync(join(ROOT, name), 'utf8').replaceAll('\\-', '-')])
}

/** The texts in the sources: what stands in quotes, comments left out. */
function spoken(): [string, string][] {
  return ['src', 'rendezvous'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true })
      .map((name) => join(folder, String(name)))
      .filter((name) => name.endsWith('.ts'))
      .map((name): [string, string] => {
        const code = readFileSync(join(ROOT, name), 'utf8')
          .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
          .replace(/(^|\s)\/\/[^\n]*/g, '$1')
        // a line at a time: a quote that is not closed is an apostrophe
        const texts = code
          .split('\n')
          .map((line) =>
            (line.match(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`/g) ?? []).join(' '),
          )
        return [name, texts.join('\n')]
      }),
  )
}

describe('plain words', () => {
  for (const [what, texts] of [
    ['the documents', documents()],
    ['what the program says', spoken()],
  ] as const) {
    test(`${what} have none of the odd phrases`, () => {
      const found = texts.flatMap(([name, text]) =>
        text
          .split('\n')
          .flatMap((line, index) =>
            ODD.filter(([phrase]) => phrase.test(line)).map(
              ([phrase, instead]) => `${name}:${index + 1}: ${phrase.exec(line)?.[0]} (${instead})`,
            ),
          ),
      )
      assert.deepEqual(found, [])
    })
  }

  test('the test itself finds what it is for', () => {
    for (const odd of ['the own identity', 'the tunnel stands', 'It is tried again.', "'up' is no command"]) {
      assert.ok(
        ODD.some(([phrase]) => phrase.test(odd)),
        odd,
      )
    }
  })
})
