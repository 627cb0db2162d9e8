/** Files inside a guest, through its agent: `guest-file-open`, `-read`, `-write`, `-seek`, `-close`. */
import { GuestAgentError } from './errors.ts';
import type { GuestAgent, GuestAgentCallOptions } from './guest-agent.ts';
import { isRecord } from './qmp-messages.ts';

/** For a whole read, in however many parts it comes. */
const READ_TIMEOUT_MS = 5000;
/** Small files, like those of /proc. */
const WHOLE_FILE_BYTES_MAX = 64 * 1024;

export class GuestFile {
  readonly #agent: GuestAgent;
  readonly #handle: number;
  readonly #path: string;
  #position = 0;

  private constructor(agent: GuestAgent, handle: number, path: string) {
    this.#agent = agent;
    this.#handle = handle;
    this.#path = path;
  }

  /** Throws GuestAgentError, QGA_COMMAND when the agent forbids file access or there is no such file. */
  static async open(
    agent: GuestAgent,
    path: string,
    mode: 'r' | 'w',
    call?: GuestAgentCallOptions,
  ): Promise<GuestFile> {
    const handle = await agent.execute('guest-file-open', { path, mode }, call);
    if (typeof handle !== 'number') throw misbehaves(agent, path, 'gives no handle for');
    return new GuestFile(agent, handle, path);
  }

  /**
   * Up to `bytes` bytes from `position` on; fewer at the end of the file. The time-out is that of all of it: an agent that
   * sends byte after byte is not waited for any longer than one that sends nothing. Throws GuestAgentError.
   */
  async read(position: number, bytes: number, call?: GuestAgentCallOptions): Promise<Buffer> {
    const deadlineMs = performance.now() + (call?.timeoutMs ?? READ_TIMEOUT_MS);
    const rest = (): GuestAgentCallOptions => ({ ...call, timeoutMs: Math.max(1, deadlineMs - performance.now()) });
    if (position !== this.#position) await this.#seek(position, rest());
    const parts: Buffer[] = [];
    for (let left = bytes; left > 0;) {
      const part = await this.#readOnce(left, rest());
      parts.push(part);
      left -= part.length;
      this.#position += part.length;
      if (part.length === 0) break;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** Throws GuestAgentError, QGA_COMMAND when the guest's kernel refuses the bytes. */
  async write(text: string, call?: GuestAgentCallOptions): Promise<void> {
    const content = Buffer.from(text).toString('base64');
    await this.#agent.execute('guest-file-write', { handle: this.#handle, 'buf-b64': content }, call);
    // The agent buffers: only this shows whether the kernel took it.
    await this.#agent.execute('guest-file-flush', { handle: this.#handle }, call);
  }

  async close(call?: GuestAgentCallOptions): Promise<void> {
    await this.#agent.execute('guest-file-close', { handle: this.#handle }, call);
  }

  async #seek(position: number, call: GuestAgentCallOptions | undefined): Promise<void> {
    await this.#agent.execute('guest-file-seek', { handle: this.#handle, offset: position, whence: 'set' }, call);
    this.#position = position;
  }

  async #readOnce(bytes: number, call: GuestAgentCallOptions | undefined): Promise<Buffer> {
    const answer = await this.#agent.execute('guest-file-read', { handle: this.#handle, count: bytes }, call);
    const text = isRecord(answer) ? answer['buf-b64'] : undefined;
    if (typeof text !== 'string') throw misbehaves(this.#agent, this.#path, 'sends no content of');
    const part = Buffer.from(text, 'base64');
    if (part.length > bytes) throw misbehaves(this.#agent, this.#path, `sends more than ${bytes} bytes of`);
    return part;
  }
}

/** The beginning of a small text file. Throws GuestAgentError. */
export async function readGuestText(agent: GuestAgent, path: string, call?: GuestAgentCallOptions): Promise<string> {
  const file = await GuestFile.open(agent, path, 'r', call);
  try {
    return (await file.read(0, WHOLE_FILE_BYTES_MAX, call)).toString('latin1');
  } finally {
    await file.close(call);
  }
}

/** Opens, writes, closes. Throws GuestAgentError. */
export async function writeGuestText(
  agent: GuestAgent,
  path: string,
  text: string,
  call?: GuestAgentCallOptions,
): Promise<void> {
  const file = await GuestFile.open(agent, path, 'w', call);
  try {
    await file.write(text, call);
  } finally {
    await file.close(call);
  }
}

function misbehaves(agent: GuestAgent, path: string, what: string): GuestAgentError {
  const text = `The guest agent of VM "${agent.vm}" ${what} ${path}`;
  return new GuestAgentError('QGA_COMMAND', text, { vm: agent.vm, command: 'guest-file', class: '', desc: what });
}
