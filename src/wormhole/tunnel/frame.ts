import { parseUpkeep, type UpkeepFrame } from './upkeep-frame.js'
import { Reader, varintLength, writeVarint } from './varint.js'

/** The longest header of a stream or flow, in bytes. */
export const MAX_HEADER = 512
/** The longest sentence that says why, in bytes of UTF-8. */
export const MAX_SENTENCE = 255
/** The most ranges in one acknowledgement. */
export const MAX_ACK_RANGES = 64

/** What a datagram carries inside its seal. docs/tunnel.md has the bytes. */
export type Frame =
  | UpkeepFrame
  | { readonly type: 'ping' }
  /** `ranges` in descending order: the highest number and the lowest, both included. `delay` in ms. */
  | { readonly type: 'ack'; readonly delay: number; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly type: 'close'; readonly sentence: string }
  | { readonly type: 'challenge' | 'response'; readonly value: Buffer }
  | { readonly type: 'reset'; readonly id: number; readonly code: number; readonly sentence: string }
  | { readonly type: 'window'; readonly id: number; readonly limit: number }
  | { readonly type: 'flow-open'; readonly id: number; readonly header: Buffer }
  | { readonly type: 'flow-data'; readonly id: number; readonly data: Buffer }
  | { readonly type: 'flow-close'; readonly id: number }
  | {
      readonly type: 'stream'
      readonly id: number
      readonly offset: number
      readonly data: Buffer
      readonly fin: boolean
    }

const PADDING = 0x00
const PING = 0x01
const ACK = 0x02
const CLOSE = 0x03
const CHALLENGE = 0x04
const RESPONSE = 0x05
const RESET = 0x06
const WINDOW = 0x07
const FLOW_OPEN = 0x08
const FLOW_DATA = 0x09
const FLOW_CLOSE = 0x0a
const STREAM = 0x10
const STREAM_FIN = 0x11

/** The length of the value in a path challenge, in bytes. */
export const CHALLENGE_LENGTH = 8

/** The frames of a datagram; undefined if it is not made of frames, which only a peer that is broken can send. */
export function parseFrames(payload: Buffer): Frame[] | undefined {
  const reader = new Reader(payload)
  const frames: Frame[] = []
  while (reader.left > 0) {
    const type = reader.byte()
    if (type === PADDING) break // to the end
    const frame = parseFrame(type, reader)
    if (!frame || reader.bad) return undefined
    frames.push(frame)
  }
  return frames
}

function parseFrame(type: number, reader: Reader): Frame | undefined {
  switch (type) {
    case STREAM:
    case STREAM_FIN: {
      const id = reader.varint()
      const offset = reader.varint()
      const data = reader.bytes(reader.varint())
      if (offset + data.length > Number.MAX_SAFE_INTEGER) return undefined
      return { type: 'stream', id, offset, data, fin: type === STREAM_FIN }
    }
    case ACK:
      return parseAck(reader)
    case FLOW_DATA:
      return { type: 'flow-data', id: reader.varint(), data: reader.bytes(reader.varint()) }
    case WINDOW:
      return { type: 'window', id: reader.varint(), limit: reader.varint() }
    case PING:
      return { type: 'ping' }
    case CHALLENGE:
      return { type: 'challenge', value: reader.bytes(CHALLENGE_LENGTH) }
    case RESPONSE:
      return { type: 'response', value: reader.bytes(CHALLENGE_LENGTH) }
    case RESET:
      return { type: 'reset', id: reader.varint(), code: reader.byte(), sentence: text(reader) }
    case FLOW_OPEN: {
      const id = reader.varint()
      const header = reader.bytes(reader.varint())
      return header.length > MAX_HEADER ? undefined : { type: 'flow-open', id, header }
    }
    case FLOW_CLOSE:
      return { type: 'flow-close', id: reader.varint() }
    case CLOSE:
      return { type: 'close', sentence: text(reader) }
    default:
      return parseUpkeep(type, reader)
  }
}

/** Acknowledgements are not acknowledged, nor what ends everything. */
export function eliciting({ type }: Frame): boolean {
  return type !== 'ack' && type !== 'close'
}

function text(reader: Reader): string {
  return reader.bytes(reader.byte()).toString('utf8')
}

function parseAck(reader: Reader): Frame | undefined {
  let high = reader.varint()
  const delay = reader.varint() / 1000
  const count = reader.varint()
  if (count < 1 || count > MAX_ACK_RANGES) return undefined
  const ranges: [number, number][] = []
  for (let i = 0; i < count; i++) {
    if (i > 0) high -= reader.varint() + 1
    const low = high - reader.varint()
    if (low < 0 || reader.bad) return undefined
    ranges.push([high, low])
    high = low - 1
  }
  return { type: 'ack', delay, ranges }
}

/** Cuts a sentence to what a frame takes, at a character. */
export function fitSentence(sentence: string): Buffer {
  const bytes = Buffer.from(sentence, 'utf8')
  if (bytes.length <= MAX_SENTENCE) return bytes
  let end = MAX_SENTENCE
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

/** Writes frames one after the other into one buffer. The caller looks at `left` before. */
export class FrameWriter {
  readonly target: Buffer
  readonly end: number
  at: number

  /** Writes from `at` up to `end` in `target`. */
  constructor(target: Buffer, at: number, end: number) {
    this.target = target
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  /** A frame that was put together elsewhere. */
  whole(frame: Uint8Array): void {
    this.#bytes(frame)
  }

  ping(): void {
    this.target[this.at++] = PING
  }

  /** Fills what is left with padding. */
  pad(): void {
    this.target.fill(PADDING, this.at, this.end)
    this.at = this.end
  }

  /**
   * The newest of `count` ranges that `range` gives in descending order (highest and lowest, included), as many as fit.
   * @param delay since the highest arrived, in ms
   * @param room bytes that it may take, beside the first range
   */
  ack(
    count: number,
    range: (index: number) => readonly [number, number],
    delay: number,
    room = Number.POSITIVE_INFINITY,
  ): void {
    const until = this.at + room
    const [highest, lowest] = range(0)
    this.target[this.at++] = ACK
    this.#varint(highest)
    this.#varint(Math.min(Math.max(0, Math.round(delay * 1000)), 0x3fffffff))
    const most = Math.min(count, MAX_ACK_RANGES)
    const countAt = this.at
    this.at += 2 // as two bytes, filled in when it is known
    this.#varint(highest - lowest)
    let written = 1
    let before = lowest
    while (written < most && this.left >= 16 && this.at + 16 <= until) {
      const [high, low] = range(written)
      this.#varint(before - high - 2)
      this.#varint(high - low)
      before = low
      written++
    }
    this.target.writeUInt16BE(0x4000 | written, countAt)
  }

  challenge(value: Uint8Array): void {
    this.target[this.at++] = CHALLENGE
    this.#bytes(value)
  }

  response(value: Uint8Array): void {
    this.target[this.at++] = RESPONSE
    this.#bytes(value)
  }

  close(sentence: Uint8Array): void {
    this.target[this.at++] = CLOSE
    this.target[this.at++] = sentence.length
    this.#bytes(sentence)
  }

  reset(id: number, code: number, sentence: Uint8Array): void {
    this.target[this.at++] = RESET
    this.#varint(id)
    this.target[this.at++] = code
    this.target[this.at++] = sentence.length
    this.#bytes(sentence)
  }

  window(id: number, limit: number): void {
    this.target[this.at++] = WINDOW
    this.#varint(id)
    this.#varint(limit)
  }

  flowOpen(id: number, header: Uint8Array): void {
    this.target[this.at++] = FLOW_OPEN
    this.#varint(id)
    this.#varint(header.length)
    this.#bytes(header)
  }

  flowData(id: number, data: Uint8Array): void {
    this.target[this.at++] = FLOW_DATA
    this.#varint(id)
    this.#varint(data.length)
    this.#bytes(data)
  }

  flowClose(id: number): void {
    this.target[this.at++] = FLOW_CLOSE
    this.#varint(id)
  }

  /** The head of a stream frame; the caller copies `length` bytes to `at` and moves it. */
  stream(id: number, offset: number, length: number, fin: boolean): void {
    this.target[this.at++] = fin ? STREAM_FIN : STREAM
    this.#varint(id)
    this.#varint(offset)
    this.#varint(length)
  }

  #varint(value: number): void {
    this.at = writeVarint(this.target, this.at, value)
  }

  #bytes(data: Uint8Array): void {
    this.target.set(data, this.at)
    this.at += data.length
  }
}

/** Bytes of a stream frame besides its data. */
export function streamOverhead(id: number, offset: number): number {
  return 1 + varintLength(id) + varintLength(offset) + 2
}

/** Bytes of a flow datagram besides its data. */
export function flowOverhead(id: number): number {
  return 1 + varintLength(id) + 2
}
