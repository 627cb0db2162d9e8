/**
 * A cpio archive in the "newc" form that the kernel unpacks as its first root file system. Written here rather than by
 * cpio(1) so that it needs no root rights for owners and device nodes, and is the same bytes for the same input.
 */
const RegularMode = 0o100000;
const FolderMode = 0o040000;
const LinkMode = 0o120000;
const CharacterDeviceMode = 0o020000;

export class CpioArchive {
  readonly #chunks: Uint8Array[] = [];
  #inode = 1;

  folder(path: string): void {
    this.#entry({ path, mode: FolderMode | 0o755, content: new Uint8Array() });
  }

  file(path: string, content: Uint8Array, permissions = 0o755): void {
    this.#entry({ path, mode: RegularMode | permissions, content });
  }

  link(path: string, target: string): void {
    this.#entry({ path, mode: LinkMode | 0o777, content: new TextEncoder().encode(target) });
  }

  characterDevice(path: string, major: number, minor: number): void {
    this.#entry({ path, mode: CharacterDeviceMode | 0o600, content: new Uint8Array(), device: [major, minor] });
  }

  bytes(): Uint8Array {
    this.#entry({ path: 'TRAILER!!!', mode: 0, content: new Uint8Array() });
    return Buffer.concat(this.#chunks);
  }

  #entry(entry: { path: string; mode: number; content: Uint8Array; device?: readonly [number, number] }): void {
    const name = new TextEncoder().encode(`${entry.path}\0`);
    const [major, minor] = entry.device ?? [0, 0];
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    const fields = [this.#inode++, entry.mode, 0, 0, 1, 0, entry.content.length, 0, 0, major, minor, name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    this.#padded(Buffer.concat([new TextEncoder().encode(header), name]));
    this.#padded(entry.content);
  }

  #padded(bytes: Uint8Array): void {
    this.#chunks.push(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
  }
}
