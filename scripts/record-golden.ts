/**
 * Records the migration streams of tiny guests for the parser's golden tests: test/golden/NAME.bin.gz
 *
 *     node bin/with-node24 scripts/record-golden.ts [NAME ...]
 *
 * The recorder does not use the parser under test: with a return path it waits for silence, then answers SHUT(0).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { GoldenQemu } from './golden-qemu.ts';

const qemu7 = '/usr/bin/qemu-system-x86_64';
const qemu10 = fileURLToPath(new URL('../.cache/qemu-10/bin/qemu-system-x86_64', import.meta.url));

const virtioMem = [
  ['-m', '16M,slots=2,maxmem=1G'],
  ['-object', 'memory-backend-ram,id=vm0,size=256M'],
  ['-device', 'virtio-mem-pci,id=mem0,memdev=vm0,requested-size=0'],
].flat();

type Recording = {
  readonly binary: string;
  readonly args: readonly string[];
  readonly returnPath: boolean;
  /** Time that the firmware runs before the migration; 0 = never started. */
  readonly runMs: number;
};

const recordings: Readonly<Record<string, Recording>> = {
  'qemu-7.2-stopped': { binary: qemu7, args: ['-M', 'q35'], returnPath: false, runMs: 0 },
  'qemu-7.2-return-path': { binary: qemu7, args: ['-M', 'q35'], returnPath: true, runMs: 1500 },
  'qemu-10-stopped': { binary: qemu10, args: ['-M', 'q35'], returnPath: false, runMs: 0 },
  'qemu-10-return-path': { binary: qemu10, args: ['-M', 'q35'], returnPath: true, runMs: 1500 },
  'qemu-10-machine-7.2': { binary: qemu10, args: ['-M', 'pc-q35-7.2'], returnPath: true, runMs: 0 },
  'qemu-10-virtio-mem': { binary: qemu10, args: ['-M', 'q35', ...virtioMem], returnPath: true, runMs: 0 },
};

const SILENCE_MS = 700;

async function record({ binary, args, returnPath, runMs }: Recording): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'golden-'));
  const socketPath = join(folder, 'migration');
  const chunks: Buffer[] = [];
  const { promise: complete, resolve, reject } = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    let silence: NodeJS.Timeout | undefined;
    const answer = (): void => void socket.write(Buffer.from([0, 1, 0, 4, 0, 0, 0, 0]));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      clearTimeout(silence);
      if (returnPath) silence = setTimeout(answer, SILENCE_MS);
    });
    socket.once('close', () => resolve());
    socket.once('error', reject);
  });
  server.listen(socketPath);
  try {
    await using qemu = await GoldenQemu.start(binary, ['-S', ...args]);
    await qemu.setCapabilities({ 'return-path': returnPath });
    if (runMs > 0) {
      await qemu.execute('cont');
      await sleep(runMs);
    }
    await qemu.execute('migrate', { uri: `unix:${socketPath}` });
    await complete;
    const { status } = await qemu.execute<{ status: string }>('query-migrate');
    if (status !== 'completed' && status !== 'device') throw new Error(`The migration ended as ${status}`);
  } finally {
    server.close();
    await rm(folder, { recursive: true });
  }
  return Buffer.concat(chunks);
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(recordings);
for (const name of names) {
  const recording = recordings[name];
  if (recording === undefined) throw new Error(`No recording "${name}": ${Object.keys(recordings).join(', ')}`);
  const stream = await record(recording);
  const packed = gzipSync(stream, { level: 9 });
  await writeFile(fileURLToPath(new URL(`../test/golden/${name}.bin.gz`, import.meta.url)), packed);
  console.log(`${name}: ${stream.length} bytes, ${packed.length} packed`);
}
