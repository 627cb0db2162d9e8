/** How far the guest is on its way to its stop, and why it is stopped: running, draining, stopping, stopped. */
import type { SwitchoverReport } from '../model/switchover.ts';
import { isStopDue, type StopFacts } from './stop-order.ts';
import type { SwitchoverReason } from './strategy.ts';

/** When a stop is decided, or happens. */
export type StopTime = Pick<SwitchoverReport, 'afterMs' | 'rounds' | 'boundMs'>;

export class GuestStop {
  /** `draining`: to be stopped as soon as little is in flight. `stopping`: QEMU has the order. */
  #state: 'running' | 'draining' | 'stopping' | 'stopped' = 'running';
  #report: (SwitchoverReport & { readonly reason: SwitchoverReason }) | null = null;
  #decidedAtMs = 0;

  get isRunning(): boolean {
    return this.#state === 'running';
  }

  get isDraining(): boolean {
    return this.#state === 'draining';
  }

  /** QEMU has been told to, or has. */
  get isOrdered(): boolean {
    return this.#state === 'stopping' || this.#state === 'stopped';
  }

  get isStopped(): boolean {
    return this.#state === 'stopped';
  }

  /** Null until it was decided, or QEMU stopped the guest. */
  get report(): SwitchoverReport | null {
    return this.#report;
  }

  /** What QEMU is to be told now, and why; null when nothing. */
  get order(): SwitchoverReason | null {
    return this.#state === 'stopping' ? (this.#report?.reason ?? null) : null;
  }

  decide(report: SwitchoverReport & { readonly reason: SwitchoverReason }, nowMs: number): void {
    this.#report = report;
    this.#state = 'draining';
    this.#decidedAtMs = nowMs;
  }

  /** Of a stop that was decided: gives the order when it is due; whether it did. */
  orderWhenDue(facts: Omit<StopFacts, 'sinceDecisionMs'>, nowMs: number): boolean {
    if (!isStopDue({ ...facts, sinceDecisionMs: nowMs - this.#decidedAtMs })) return false;
    this.#state = 'stopping';
    return true;
  }

  /** The guest has stopped, whoever wanted it. */
  stopped(time: StopTime): void {
    const { reason = 'QEMU stopped the guest by itself', expectedDowntimeMs = null } = this.#report ?? {};
    this.#report = { reason, ...time, expectedDowntimeMs };
    this.#state = 'stopped';
  }
}
