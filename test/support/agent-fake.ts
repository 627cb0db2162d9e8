/**
 * A guest agent that misbehaves, in place of the real one: it listens where QEMU's socket of the agent's channel was.
 *
 * It shakes hands and serves files like the real one, with what the test wants in place of /proc/kpageflags.
 */
import { renameSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { HostName, LabHosts } from './lab-hosts.ts';

export const agentTricks = ['dies', 'garbage', 'endless', 'byte by byte', 'all free'] as const;
export type AgentTrick = (typeof agentTricks)[number];

const files: Readonly<Record<string, string>> = {
  '/proc/cmdline': 'console=ttyS0\n',
  '/proc/meminfo': 'MemTotal: 200000 kB\nMemFree: 100000 kB\nCached: 50000 kB\n',
};
/** One free page as /proc/kpageflags has it: BUDDY alone. */
const freePage = Buffer.alloc(8);
freePage.writeUInt32LE(1 << 10);

type Request = {
  readonly execute: string;
  readonly arguments?: {
    readonly id?: number;
    readonly path?: string;
    readonly handle?: number;
    readonly count?: number;
  };
};

export class FakeAgent {
  readonly #trick: AgentTrick;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** By handle; a file of /proc is read once, in one piece. */
  readonly #files: { readonly path: string; isRead: boolean }[] = [];
  /** Commands that it was sent, for a closer look. */
  readonly commands: string[] = [];
  #reads = 0;

  private constructor(trick: AgentTrick) {
    this.#trick = trick;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async inPlaceOf(lab: LabHosts, host: HostName, vm: string, trick: AgentTrick): Promise<FakeAgent> {
    const fake = new FakeAgent(trick);
    const path = join(lab.folder, host, 'state/vms', vm, 'qga.sock');
    renameSync(path, `${path}.real`);
    await new Promise<void>((resolve, reject) => fake.#server.once('error', reject).listen(path, resolve));
    return fake;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => this.#sockets.delete(socket));
    socket.setEncoding('latin1');
    const lines = createInterface(socket);
    lines.on('error', () => undefined);
    lines.on('line', (line) => {
      const request = JSON.parse(line.replaceAll('\xff', '')) as Request;
      this.commands.push(request.execute);
      this.#answer(socket, request);
    });
  }

  #answer(socket: Socket, { execute, arguments: given = {} }: Request): void {
    const say = (result: unknown, before = ''): void => {
      socket.write(Buffer.from(`${before}${JSON.stringify({ return: result })}\n`, 'latin1'));
    };
    switch (execute) {
      case 'guest-sync-delimited':
        return say(given.id, '\xff');
      case 'guest-file-open':
        return say(this.#files.push({ path: given.path ?? '', isRead: false }) - 1);
      case 'guest-file-read': {
        const file = this.#files[given.handle ?? 0];
        const text = files[file?.path ?? ''];
        if (file === undefined || text === undefined) return this.#trickOn(socket, given.count ?? 0, say);
        const content = Buffer.from(file.isRead ? '' : text);
        file.isRead = true;
        return say(contentOf(content));
      }
      default:
        return say({});
    }
  }

  #trickOn(socket: Socket, count: number, say: (result: unknown) => void): void {
    this.#reads++;
    switch (this.#trick) {
      case 'dies':
        return this.#reads === 3 ? void socket.destroy() : say(contentOf(Buffer.alloc(count)));
      case 'garbage':
        return void socket.write(Buffer.from([0x00, 0xfe, 0x7b, 0x22, 0x0a]));
      case 'endless':
        return flood(socket);
      case 'byte by byte':
        return say(contentOf(Buffer.alloc(1)));
      default:
        return say(contentOf(Buffer.alloc(count, freePage)));
    }
  }
}

function contentOf(bytes: Buffer): object {
  return { count: bytes.length, 'buf-b64': bytes.toString('base64'), eof: false };
}

/** A line without end, as fast as it is read. */
function flood(socket: Socket): void {
  const piece = Buffer.alloc(256 * 1024, 'A');
  const more = (): void => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', more);
  more();
}
