/**
 * What is wrong with the options behind `?` of a rendezvous: one that it does not have, or one that is given twice; with what
 * was probably meant. Nothing if all is well.
 */
export function wrongOption(url: URL, known: readonly string[]): string | undefined {
  const names = [...url.searchParams.keys()]
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    const there = known.length === 0 ? 'it takes no options' : `its options are ${known.join(' and ')}`
    return `it has no option '${unknown}'; ${there}`
  }
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  return twice === undefined ? undefined : `the option '${twice}' is given twice`
}
