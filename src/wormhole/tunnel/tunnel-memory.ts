/** Memory of the process, as far as this tunnel's peer may have it. */
export interface TunnelMemory {
  /** Takes so many bytes. False if the peer has had its share. */
  draw(bytes: number): boolean
  restore(bytes: number): void
  /** Something had to be refused for want of it. */
  short(): void
}
