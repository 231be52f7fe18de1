/**
 * Public STUN servers that are asked when the user names none. Few, so that each start costs little; of operators
 * that have nothing to do with each other, and on different ports, so that no single outage or filter stops all.
 */
export const DEFAULT_STUN_SERVERS: readonly string[] = [
  'stun.l.google.com:19302',
  'stun.cloudflare.com:3478',
  'stun.nextcloud.com:443',
  'stun.sipgate.net:3478',
]
