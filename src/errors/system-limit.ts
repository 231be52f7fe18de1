/** What the system had no more of. */
export interface SystemLimit {
  /** What is used up, with a full stop. */
  readonly sentence: string
  readonly advice: string
}

const FILES: SystemLimit = {
  sentence: 'This program may open no more files and sockets.',
  advice: 'Raise its limit: LimitNOFILE= in a systemd unit, ulimit -n in the shell that starts it.',
}
const ALL_FILES: SystemLimit = {
  sentence: 'This machine can open no more files and sockets.',
  advice: 'Raise fs.file-max with sysctl, or stop programs that hold many.',
}
const MEMORY: SystemLimit = {
  sentence: 'The system has no memory left for it.',
  advice: 'Give this program more memory, or stop others.',
}
const PROCESSES: SystemLimit = {
  sentence: 'This user may start no more processes.',
  advice: 'Raise the limit: TasksMax= in a systemd unit, ulimit -u in the shell that starts it.',
}

const LIMITS = new Map<unknown, SystemLimit>([
  ['EMFILE', FILES],
  ['ENFILE', ALL_FILES],
  ['ENOMEM', MEMORY],
  ['ENOBUFS', MEMORY],
])

/**
 * What the system had no more of, if that is why something could not be had (errno(3)). Whatever was wanted, a socket, a file
 * or a process: it is neither taken nor missing then.
 * @param cause what the system threw
 */
export function systemLimit(cause: unknown): SystemLimit | undefined {
  if (typeof cause !== 'object' || cause === null) return undefined
  const { code, syscall } = cause as { code?: unknown; syscall?: unknown }
  // elsewhere it says: not now
  if (code === 'EAGAIN') return String(syscall).startsWith('spawn') ? PROCESSES : undefined
  return LIMITS.get(code)
}
