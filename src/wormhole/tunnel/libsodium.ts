import { nativeAddon } from '../../net/index.js'

/** The part of sodium-native that is used here; the package brings no types. */
export interface Sodium {
  /** X25519 (RFC 7748): the public key of a secret one, 32 bytes each. */
  crypto_scalarmult_base(publicKey: Uint8Array, secretKey: Uint8Array): void
  /** @throws Error for a public key that gives an all-zero secret */
  crypto_scalarmult(shared: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): void
  /** ChaCha20-Poly1305 (RFC 8439). */
  readonly crypto_aead_chacha20poly1305_ietf_encrypt: Encrypt
  readonly crypto_aead_chacha20poly1305_ietf_decrypt: Decrypt
  /** XChaCha20-Poly1305: the same with a nonce of 24 bytes, which may be random. */
  readonly crypto_aead_xchacha20poly1305_ietf_encrypt: Encrypt
  readonly crypto_aead_xchacha20poly1305_ietf_decrypt: Decrypt
}

/** `cipher` is 16 bytes longer than `message` and may begin at the same byte. */
type Encrypt = (
  cipher: Uint8Array,
  message: Uint8Array,
  additional: Uint8Array | null,
  nsec: null,
  nonce: Uint8Array,
  key: Uint8Array,
) => number

/** @throws Error if the tag is not right; `message` is then zeroed */
type Decrypt = (
  message: Uint8Array,
  nsec: null,
  cipher: Uint8Array,
  additional: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array,
) => number

let loaded: Sodium | undefined

/** libsodium, loaded when a tunnel first needs it. @throws PlexusError NATIVE_ADDON */
export function sodium(): Sodium {
  loaded ??= nativeAddon<Sodium>('sodium-native')
  return loaded
}

/** Finds out whether tunnels can be encrypted on this machine, before one is needed. @throws PlexusError NATIVE_ADDON */
export function requireTunnels(): void {
  sodium()
}
