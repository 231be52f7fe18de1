import type { PlexusError } from '../../errors/index.js'
import type { ProofSignature } from './upkeep-frame.js'

/** Who proves this side's identity in a tunnel, and judges the peer's proof: by what is in the repository at that moment. */
export interface Witness {
  /**
   * Signs with the keys that this side has now.
   * @throws PlexusError why it cannot
   */
  sign(statement: Buffer): Promise<readonly ProofSignature[]>
  /** Why the peer's signatures do not prove that it may still be here; nothing if they do. */
  objection(statement: Buffer, signatures: readonly ProofSignature[]): Promise<PlexusError | undefined>
}
