declare module 'sodium-native' {
  const sodium: import('./libsodium.js').Sodium
  export default sodium
}
