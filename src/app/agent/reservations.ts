/**
 * What a host has promised: memory, vCPUs and names held for machines that are to arrive.
 *
 * A lease runs out unless the incoming QEMU has been started under it: from then on the migration owns it until it is
 * released, because a guest that is already prepared must never be thrown away by a clock (docs/machine.md).
 *
 * Invariant: used + reserved never exceeds the capacity by what this ledger admits. The clock is a parameter.
 */
import { assert } from '../../core/base/assert.ts';
import { formatBytes } from '../../core/model/units.ts';
import type { Problem } from '../../core/model/vm.ts';
import { LEASES_MAX } from './limits.ts';

export type Amounts = { readonly memoryBytes: number; readonly vcpus: number };
export type Need = Amounts & { readonly name: string };

type Lease = Need & { readonly migrationId: string; untilMs: number };

export class Reservations {
  readonly #capacity: Amounts;
  readonly #used: () => Amounts;
  readonly #clockMs: () => number;
  readonly #leases = new Map<string, Lease>();
  #closed: Problem | null = null;

  /** `used`: what the machines take that are already here, incoming ones included. `clockMs` never goes back. */
  constructor(capacity: Amounts, used: () => Amounts, clockMs: () => number) {
    this.#capacity = capacity;
    this.#used = used;
    this.#clockMs = clockMs;
  }

  get capacity(): Amounts {
    return this.#capacity;
  }

  /** Refuses every further machine for this reason; null: no longer. What is held stays held. */
  close(because: Problem | null): void {
    this.#closed = because;
  }

  /** Sum of the leases; a lease whose QEMU runs is counted under `used` instead. */
  reserved(): Amounts {
    this.#expire();
    return sumOf([...this.#leases.values()].filter((lease) => lease.untilMs !== Infinity));
  }

  /** Everything that speaks against holding this much under this name; `migrationId`'s own lease does not count. */
  problems(need: Need, migrationId: string | null): Problem[] {
    this.#expire();
    const others = [...this.#leases.values()].filter((lease) => lease.migrationId !== migrationId);
    const problems: Problem[] = this.#closed === null ? [] : [this.#closed];
    const holder = others.find((lease) => lease.name === need.name);
    if (holder !== undefined) {
      problems.push({
        code: 'NAME_TAKEN',
        message: `The name "${need.name}" is held for migration ${holder.migrationId}; wait for it or cancel it.`,
      });
    }
    if (others.length >= LEASES_MAX) {
      problems.push({ code: 'LEASES_EXHAUSTED', message: `The host holds ${LEASES_MAX} reservations already.` });
    }
    const used = this.#used();
    const held = sumOf(others.filter((lease) => lease.untilMs !== Infinity));
    const freeBytes = this.#capacity.memoryBytes - used.memoryBytes - held.memoryBytes;
    if (need.memoryBytes > freeBytes) {
      problems.push({
        code: 'MEMORY_SHORT',
        message:
          `"${need.name}" needs ${formatBytes(need.memoryBytes)} of memory, the host has ` +
          `${formatBytes(Math.max(0, freeBytes))} free of ${formatBytes(this.#capacity.memoryBytes)}.`,
      });
    }
    const freeVcpus = this.#capacity.vcpus - used.vcpus - held.vcpus;
    if (need.vcpus > freeVcpus) {
      problems.push({
        code: 'VCPUS_SHORT',
        message: `"${need.name}" needs ${need.vcpus} vCPUs, the host has ${Math.max(0, freeVcpus)} free of ${this.#capacity.vcpus}.`,
      });
    }
    return problems;
  }

  /** Holds what is needed. Call `problems` first, in the same turn of the event loop. */
  hold(migrationId: string, need: Need, leaseMs: number): void {
    assert(this.problems(need, migrationId).length === 0, 'only what is free is promised');
    this.#leases.set(migrationId, { ...need, migrationId, untilMs: this.#clockMs() + leaseMs });
  }

  /** The incoming QEMU runs: the lease no longer ends by itself. False when it has run out or never was. */
  pin(migrationId: string): boolean {
    this.#expire();
    const lease = this.#leases.get(migrationId);
    if (lease !== undefined) lease.untilMs = Infinity;
    return lease !== undefined;
  }

  /** Idempotent. */
  release(migrationId: string): void {
    this.#leases.delete(migrationId);
  }

  has(migrationId: string): boolean {
    this.#expire();
    return this.#leases.has(migrationId);
  }

  #expire(): void {
    const nowMs = this.#clockMs();
    for (const lease of this.#leases.values()) if (lease.untilMs <= nowMs) this.#leases.delete(lease.migrationId);
  }
}

function sumOf(parts: readonly Amounts[]): Amounts {
  return {
    memoryBytes: parts.reduce((sum, part) => sum + part.memoryBytes, 0),
    vcpus: parts.reduce((sum, part) => sum + part.vcpus, 0),
  };
}
