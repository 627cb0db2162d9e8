/**
 * Finds hosts with room, without looking at all of them for each VM.
 *
 * The hosts that may receive are kept in lists by CPU share, in steps of 1 %, with what was decided so far counted in: two
 * VMs that are placed in one round do not both get the last place. Building it once for a round is linear in the hosts; a
 * place is found by walking the lists from the emptiest host up, or from the fullest allowed one down.
 */
import { NOWHERE } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { PLACES_MAX, ROUNDING, SHARE_STEPS, TRIES_MAX } from './limits.ts';
import type { Shares } from './marks.ts';

export type Need = {
  readonly vm: number;
  /** Of the VM, or of it and all that must come with it. */
  readonly cores: number;
  readonly bytes: number;
  readonly marks: Shares;
  readonly order: 'emptiest first' | 'fullest first';
  /** What else is asked of a host. */
  readonly accepts: (host: number) => boolean;
  /** Look at every host if need be. */
  readonly isThorough?: boolean;
};

export class Places {
  /** Cores and memory in use, and moves, when everything decided so far is under way. */
  readonly cores: Float64Array;
  readonly bytes: Float64Array;
  readonly moves: Uint16Array;
  readonly #fleet: Fleet;
  readonly #first = new Int32Array(SHARE_STEPS + 1).fill(NOWHERE);
  readonly #next: Int32Array;
  readonly #before: Int32Array;
  readonly #step: Int16Array;
  readonly #plannedHost = new Map<number, number>();

  constructor(fleet: Fleet, mayReceive: (host: number) => boolean) {
    this.#fleet = fleet;
    this.cores = fleet.usedCores.slice();
    this.bytes = fleet.usedBytes.slice();
    this.moves = fleet.moves.slice();
    this.#next = new Int32Array(fleet.hostCount).fill(NOWHERE);
    this.#before = new Int32Array(fleet.hostCount).fill(NOWHERE);
    this.#step = new Int16Array(fleet.hostCount).fill(NOWHERE);
    for (let host = fleet.hostCount - 1; host >= 0; host--) if (mayReceive(host)) this.#insert(host);
  }

  /** At most PLACES_MAX hosts that fit, in the order asked for. */
  find(need: Need): number[] {
    const found: number[] = [];
    const last = Math.min(SHARE_STEPS, Math.floor(need.marks.cpu * SHARE_STEPS));
    let triesLeft = need.isThorough === true ? Infinity : TRIES_MAX;
    for (let i = 0; i <= last; i++) {
      const step = need.order === 'emptiest first' ? i : last - i;
      for (let host = this.#first[step]!; host !== NOWHERE; host = this.#next[host]!) {
        if (triesLeft-- <= 0) return found;
        if (!this.#fits(host, need) || !need.accepts(host)) continue;
        if (found.push(host) === PLACES_MAX) return found;
      }
    }
    return found;
  }

  /** No VM that must not meet this one is at the host, or on its way to it, or decided to go there. */
  isPeaceful(vm: number, host: number): boolean {
    return this.#fleet.rivalsOf(vm).every((rival) => rival === vm || !this.#isOrComesTo(rival, host));
  }

  /** Keeps room for the VM, without a move yet. */
  reserve(vm: number, host: number): void {
    this.#plannedHost.set(vm, host);
    this.#add(host, this.#fleet.vmCores(vm), this.#fleet.vmMemoryBytes[vm]!);
  }

  /** Takes a reservation back. */
  release(vm: number): void {
    const host = this.#plannedHost.get(vm);
    if (host === undefined) return;
    this.#plannedHost.delete(vm);
    this.#add(host, -this.#fleet.vmCores(vm), -this.#fleet.vmMemoryBytes[vm]!);
  }

  /** Counts a decided move in; its room may have been reserved. */
  take(vm: number, host: number): void {
    this.release(vm);
    this.reserve(vm, host);
    this.moves[host]!++;
    this.moves[this.#fleet.vmHost[vm]!]!++;
  }

  /** The host receives nothing in this round; says whether it could have. */
  close(host: number): boolean {
    if (this.#step[host] === NOWHERE) return false;
    this.#remove(host);
    return true;
  }

  open(host: number): void {
    this.#insert(host);
  }

  /** CPU share with so many cores more in use. */
  shareWith(host: number, cores: number): number {
    return (this.cores[host]! + cores) / this.#fleet.cores[host]!;
  }

  sharesWith(host: number, cores: number, bytes: number): Shares {
    return {
      cpu: this.shareWith(host, cores),
      memory: (this.bytes[host]! + bytes) / this.#fleet.memoryBytes[host]!,
    };
  }

  #fits(host: number, { vm, cores, bytes, marks }: Need): boolean {
    if (host === this.#fleet.vmHost[vm]) return false;
    if (this.bytes[host]! + bytes > marks.memory * this.#fleet.memoryBytes[host]!) return false;
    return this.cores[host]! + cores <= marks.cpu * this.#fleet.cores[host]! + ROUNDING;
  }

  #isOrComesTo(vm: number, host: number): boolean {
    const { vmHost, vmTarget } = this.#fleet;
    return vmHost[vm] === host || vmTarget[vm] === host || this.#plannedHost.get(vm) === host;
  }

  #add(host: number, cores: number, bytes: number): void {
    this.cores[host]! += cores;
    this.bytes[host]! += bytes;
    if (this.close(host)) this.#insert(host);
  }

  #insert(host: number): void {
    const step = Math.min(SHARE_STEPS, Math.max(0, Math.floor(this.shareWith(host, 0) * SHARE_STEPS)));
    const first = this.#first[step]!;
    this.#step[host] = step;
    this.#next[host] = first;
    this.#before[host] = NOWHERE;
    if (first !== NOWHERE) this.#before[first] = host;
    this.#first[step] = host;
  }

  #remove(host: number): void {
    const [before, next] = [this.#before[host]!, this.#next[host]!];
    if (before === NOWHERE) this.#first[this.#step[host]!] = next;
    else this.#next[before] = next;
    if (next !== NOWHERE) this.#before[next] = before;
    this.#step[host] = NOWHERE;
  }
}
