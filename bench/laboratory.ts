import { labUnavailable } from '../test/natlab/index.js'

/** Ends the program, with the reason, where no laboratory can be made. */
export function needLaboratory(): void {
  const reason = labUnavailable()
  if (reason === undefined) return
  process.stderr.write(`no laboratory: ${reason}\n`)
  process.exit(1)
}
