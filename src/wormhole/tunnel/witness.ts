import type { PlexusError } from '../../errors/index.js'
import type { ProofSignature } from './upkeep-frame.js'

/** What came of a proof; `unclear` while it cannot be told. */
export type Verdict =
  | { readonly is: 'good' }
  | { readonly is: 'bad' | 'unclear'; readonly error: PlexusError }

/** Who proves this side's identity in a tunnel, and judges the peer's proof: by what is in the repository at that moment. */
export interface Witness {
  /**
   * Signs with the keys that this side has now.
   * @throws PlexusError why it cannot
   */
  sign(statement: Buffer): Promise<readonly ProofSignature[]>
  /** Whether the peer's signatures prove that it is who it was, and may still be here. Never rejects. */
  judge(statement: Buffer, signatures: readonly ProofSignature[]): Promise<Verdict>
}
