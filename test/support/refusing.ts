import { spawnSync } from 'node:child_process'
import { arch, constants } from 'node:os'

/** A call of the system that is refused, with what; `first` names the only value of its first argument for which it is. */
export interface Refusal {
  readonly call: 'link' | 'flock' | 'socket' | 'bind'
  readonly errno: keyof typeof constants.errno
  readonly first?: number
}

/** The address family of questions to the kernel about the network: what lists interfaces asks there. */
export const AF_NETLINK = 16
export const AF_UNIX = 1

/** The numbers of the calls, by machine (unistd.h). */
const NUMBERS: Readonly<Record<string, Readonly<Record<Refusal['call'], readonly number[]>>>> = {
  x64: { link: [86, 265], flock: [73], socket: [41], bind: [49] },
  arm64: { link: [37], flock: [32], socket: [198], bind: [200] },
}

/** Installs a seccomp filter (seccomp(2)) and becomes the program. A rule is number, errno, first argument or -1. */
const FILTER = `
import ctypes, os, struct, sys
LOAD, EQ, RET = 0x20, 0x15, 0x06
rules = [tuple(map(int, word.split(','))) for word in sys.argv[1].split()]
def op(code, jt, jf, k): return struct.pack('HBBI', code, jt, jf, k & 0xffffffff)
program = b''
for number, errno, first in rules:
    refuse = op(RET, 0, 0, 0x00050000 | errno)
    if first < 0: program += op(LOAD, 0, 0, 0) + op(EQ, 0, 1, number) + refuse
    else: program += op(LOAD, 0, 0, 0) + op(EQ, 0, 3, number) + op(LOAD, 0, 0, 16) + op(EQ, 0, 1, first) + refuse
program += op(RET, 0, 0, 0x7fff0000)
libc = ctypes.CDLL(None, use_errno=True)
text = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(text)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter, 0, 0): sys.exit('no seccomp: errno %d' % ctypes.get_errno())
os.execvp(sys.argv[2], sys.argv[2:])
`

/** What a program is started under to live on a system that refuses these calls. */
export function refusing(...refusals: readonly Refusal[]): string[] {
  const rules = refusals.flatMap(({ call, errno, first = -1 }) =>
    (NUMBERS[arch()]?.[call] ?? []).map((number) => [number, constants.errno[errno], first].join(',')),
  )
  return ['python3', '-c', FILTER, rules.join(' ')]
}

/** Why no call can be refused here; false when it can. */
export function refusingMissing(): string | false {
  if (NUMBERS[arch()] === undefined || process.platform !== 'linux')
    return 'the numbers of the calls are not known'
  const [command = '', ...words] = refusing({ call: 'link', errno: 'EPERM' })
  return spawnSync(command, [...words, 'true']).status === 0 ? false : 'python3 or seccomp is missing'
}
