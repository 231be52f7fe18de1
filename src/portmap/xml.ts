import { Parser } from 'htmlparser2'

/** An element of a router's document: names in lower case and without their prefix, as routers mix both. */
export interface Element {
  readonly name: string
  readonly children: readonly Element[]
  /** Its own text, without that of its children and without the white space around it. */
  readonly text: string
}

interface Growing extends Element {
  children: Growing[]
  text: string
}

/** A description has some 200 elements, an answer ten. What lies beyond is not looked at. */
const MAX_ELEMENTS = 4096
const MAX_DEPTH = 32

/**
 * Reads what a router calls XML: end tags that are missing, entities that are bare, and text around the document are passed
 * over. Entities that the document declares itself are not expanded.
 * @returns an element without a name around all of it
 */
export function parseXml(text: string): Element {
  const root: Growing = { name: '', children: [], text: '' }
  const open: Growing[] = [root]
  let count = 0
  // elements too deep, or too many, are only counted until they close
  let skipped = 0
  const parser = new Parser(
    {
      onopentag(tag) {
        if (skipped > 0 || open.length > MAX_DEPTH || ++count > MAX_ELEMENTS) {
          skipped++
          return
        }
        const element: Growing = { name: tag.slice(tag.indexOf(':') + 1), children: [], text: '' }
        open.at(-1)?.children.push(element)
        open.push(element)
      },
      ontext(piece) {
        const element = open.at(-1)
        if (element && skipped === 0) element.text += piece
      },
      onclosetag() {
        if (skipped > 0) skipped--
        else if (open.length > 1) close(open)
      },
    },
    { xmlMode: true, lowerCaseTags: true },
  )
  parser.end(text)
  return root
}

function close(open: Growing[]): void {
  const element = open.pop()
  if (element) element.text = element.text.trim()
}

/** Every element of a name at any depth, in the order of the document. */
export function elementsOf({ children }: Element, name: string): Element[] {
  const wanted = name.toLowerCase()
  return children.flatMap((child) => [
    ...(child.name === wanted ? [child] : []),
    ...elementsOf(child, wanted),
  ])
}

/** The text of the first element of a name at any depth. */
export function textOf(element: Element, name: string): string | undefined {
  return elementsOf(element, name)[0]?.text
}
