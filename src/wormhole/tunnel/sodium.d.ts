declare module 'sodium-native' {
  /** X25519 (RFC 7748): the public key of a secret one, 32 bytes each. */
  export function crypto_scalarmult_base(publicKey: Uint8Array, secretKey: Uint8Array): void
  /** @throws Error for a public key that gives an all-zero secret */
  export function crypto_scalarmult(shared: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): void
  /** ChaCha20-Poly1305 (RFC 8439); `cipher` is 16 bytes longer than `message` and may begin at the same byte. */
  export function crypto_aead_chacha20poly1305_ietf_encrypt(
    cipher: Uint8Array,
    message: Uint8Array,
    additional: Uint8Array | null,
    nsec: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  /** @throws Error if the tag is not right; `message` is then zeroed */
  export function crypto_aead_chacha20poly1305_ietf_decrypt(
    message: Uint8Array,
    nsec: null,
    cipher: Uint8Array,
    additional: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  /** XChaCha20-Poly1305: the same with a nonce of 24 bytes, which may be random. */
  export function crypto_aead_xchacha20poly1305_ietf_encrypt(
    cipher: Uint8Array,
    message: Uint8Array,
    additional: Uint8Array | null,
    nsec: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  /** @throws Error if the tag is not right; `message` is then zeroed */
  export function crypto_aead_xchacha20poly1305_ietf_decrypt(
    message: Uint8Array,
    nsec: null,
    cipher: Uint8Array,
    additional: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
}
