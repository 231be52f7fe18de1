import { stripVTControlCharacters } from 'node:util'

/**
 * How many columns a text takes where the help is laid out: one for each character, as all that the program says is Latin.
 * In the bundle it stands in for the package `string-width` (`bundle` in package.json), which takes 15 ms of each start to
 * prepare for emoji.
 */
export default function columns(text: string): number {
  return [...stripVTControlCharacters(text)].length
}
