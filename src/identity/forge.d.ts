/** The one part of node-forge that is loaded: its ASN.1 codec (13 ms; all of node-forge takes 35). */
declare module 'node-forge/lib/asn1.js' {
  export interface Asn1 {
    /** 0x00 universal, 0x40 application, 0x80 context-specific, 0xc0 private. */
    tagClass: number
    /** The tag number. */
    type: number
    constructed: boolean
    /** Octets as a string of characters 0 to 255, or what a constructed value consists of. */
    value: string | Asn1[]
  }
  interface Bytes {
    getBytes(): string
  }
  interface Options {
    strict: boolean
    parseAllBytes: boolean
    decodeBitStrings: boolean
    maxDepth: number
  }
  const asn1: {
    create(tagClass: number, type: number, constructed: boolean, value: string | Asn1[]): Asn1
    fromDer(bytes: string, options: Options): Asn1
    toDer(value: Asn1): Bytes
    oidToDer(oid: string): Bytes
    derToOid(bytes: string): string | undefined
    dateToUtcTime(date: Date): string
    dateToGeneralizedTime(date: Date): string
  }
  export default asn1
}
