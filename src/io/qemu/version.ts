/** QEMU's version, as the QMP greeting and `query-version` give it. */
export type QemuVersion = { readonly major: number; readonly minor: number; readonly micro: number };

export function isAtLeast(version: QemuVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

export function formatVersion(version: QemuVersion): string {
  return `${version.major}.${version.minor}.${version.micro}`;
}
