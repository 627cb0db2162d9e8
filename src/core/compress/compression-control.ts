/**
 * Which level makes a lane fastest just now. Facts go in (what batches cost and saved, where the lane's time went), a level
 * comes out; no clock, no I/O.
 *
 * A lane's source, link and destination work at the same time, so a span of work takes as long as the slowest of them:
 *
 *     time(level) = max(source: other work + cost(level), link: bytes(level) / rate, destination)  + a little for cost and bytes
 *
 * Other work and the destination's grow with the bytes, which are encrypted and go through both kernels; the destination unpacks. What a level costs
 * is measured in processor time, because a thread that waits for a processor in the middle of a batch says nothing of it; how much
 * longer everything takes on a busy host is measured apart.
 *
 * Costs and sizes of levels not in force are estimated from those of the level in force. The rate of the link is what the kernel
 * says. Where it says nothing, the rate is known only when the lane waited for the link. When it did not, the link is taken to be faster
 * than what was seen, so that a lighter level is tried; if that finds the link's end, the rate counts as known for a while, longer each
 * time. A trial costs a short migration more than it can gain, so the first one comes after a few seconds.
 *
 * Not compressing harder when the destination is what is slow, and waiting for a bandwidth limit like for a link, follow from
 * the same formula.
 *
 * A lane whose connection takes nothing waits for the link for sure. One that has nothing to do may as well wait for a destination that
 * works most of the time; or, where all processors are busy, for its turn, as the destination does. There only much waiting, or
 * waiting that a lighter level does not cure, was for the link.
 */
import { isFast, provesFast } from './fast-link.ts';
import { compressionLevels, LZ, LZ_MS_PER_BYTE, STORE } from './levels.ts';

/** A span of a lane's life, of some 100 ms. Milliseconds; times in which there was nothing to send are left out. */
export type LaneSpan = {
  readonly nowMs: number;
  readonly spanMs: number;
  /** Of `spanMs`, the source lane at work, or waiting for a processor to work on. */
  readonly busyMs: number;
  /** Processor time that the source lane's thread took. */
  readonly cpuMs: number;
  /** Of `spanMs`, the source lane had something to send, and its connection took nothing. */
  readonly blockedMs: number;
  /** Of the host's processor time, the share that nobody used: 0 to 1. */
  readonly hostIdle: number;
  /** Of `spanMs`, the destination's lane at work. */
  readonly destinationBusyMs: number;
  readonly wireBytes: number;
  /** What the destination acknowledged in the span: all of it has crossed the link, while `wireBytes` may lie in buffers. */
  readonly ackedBytes: number;
  /** What the kernel says of this lane's share of the link; null when it does not. */
  readonly link: KnownLink | null;
};

/** What a lane knows of its link. */
export type KnownLink = {
  readonly msPerByte: number;
  /** False: it is at least so fast. */
  readonly isMeasured: boolean;
};

/** A lane that idled for more than this share waited. */
const IDLE_SHARE = 0.05;
/** One that was blocked for more than this did so wherever it runs. */
const BLOCKED_SHARE = 0.25;
/** A destination this busy is what the lane waited for. */
const BUSY_SHARE = 0.95;
/** While the destination has not acknowledged this much of what was sent, buffers fill: how fast the link is does not show. */
const FLOWING_SHARE = 0.8;
/** Two sides that work less than this together would get that much of a processor on any host. */
const QUIET_SHARE = 0.4;
/** Where processors are shared by more than there are, a side that works less than this is not what the other waits for. */
const CALM_SHARE = 0.6;
/** With this much idle time a thread that wants a processor has one. */
const FREE_ABOVE = 0.4;
/** Below this share of idle time threads wait for processors. */
const CROWDED_BELOW = 0.15;
/** Pages that do not go this much faster after a change to a lighter level wait for the link. */
const FASTER = 1.1;
/** What a millisecond of processor time costs all others on a crowded host. */
const CROWDED_COST = 0.1;
/** Encrypting and sending a byte, and receiving it, takes about so much of the time of packing one at level LZ. */
const WIRE_COST = 0.3;
/** And unpacking one, of whatever level. */
const UNPACK_COST = 0.5;
/** On a link that is busy all the time, a level that sends nothing may take so much longer: of two that take about as long, the one that leaves it to others. */
const BYTES_WEIGHT = 0.15;
/** How much faster a link that was not the limit is taken to be; step by step where a vain trial costs others processor time. */
const SLACK = 0.2;
const SLACK_CROWDED = 0.3;
/** A link this much faster than it was measured was not measured. */
const WRONG = 0.8;
/** Before this nothing lighter is tried than what is known of the link speaks for. */
const TRIAL_AFTER_MS = 3000;
const KNOWN_MS = 2000;
const KNOWN_MS_MAX = 16_000;
/** A change must promise this much. */
const GAIN = 0.985;
/**
 * Where a thread does not have a processor at once, a lighter level must promise this much, on a link that carries pages so many times slower
 * than a lane packs them at most; and that much on a slower one: there moves at 1 Gbit/s gained next to nothing of what spans had
 * promised, and sent two to three times the bytes.
 */
const GAIN_LIGHTER = 0.95;
const FAST_LINK = 1.5;
const GAIN_LIGHTER_SLOW = 0.45;
/** On a link that nobody knows, which half of the time would be busy. */
const GAIN_LIGHTER_UNKNOWN = 0.7;
const UNKNOWN_SHARE = 0.5;
/**
 * And what the change would have saved by now beyond that must come to so much, to less on a link that is not half used, to nothing on one that was proved
 * to be fast: how a thread gets its turns makes a span look cheap or dear by chance, and a short migration is over before its bytes pay.
 */
const EVIDENCE_MS = 100;
/** Going back to the level left last must promise so much more, and as much again each further time: what is said of a level not in force is an estimate. */
const BACK_GAIN = 0.04;
const BACK_GAIN_MAX = 0.4;
/** Weight of processor time that is nobody's bottleneck: others on the host may want it. */
const COST_WEIGHT = 0.01;
const WEIGHT = 0.3;
/** A smaller batch, of some deltas, weighs less: what it costs is mostly what any batch costs, and says nothing of bytes. */
const FULL_BATCH_BYTES = 64 * 1024;
/** Batches after a change that tell how the new level compares with the old one. */
const TRIAL_BATCHES = 12;
/** A level not tried yet may cost this much less than the table says. */
const HOPE = 0.9;
/** Work that takes longer than so many times its processor time was held up by something else. */
const CROWD_MAX = 4;
/** Below this share of the span's bytes, compression decides nothing. */
const SHARE_MIN = 0.05;

/** At a level: the time, weighed, and the share of it in which the link is busy. */
type LevelTime = { readonly ms: number; readonly linkShare: number };

export class CompressionControl {
  readonly #capBytesPerMs: number | null;
  readonly #costs = compressionLevels.map(({ cost }) => cost);
  readonly #savings = compressionLevels.map(({ saving }) => saving);
  /** Levels that were in force: the others are believed to be a little better than the table says, so that they are tried. */
  readonly #tried = compressionLevels.map((_, level) => level === LZ);
  #level = LZ;
  #levelBefore = LZ;
  /** How often in a row it went back to the level that it had just left. */
  #returns = 0;
  /** What a change to storing, or back, would have saved by now. */
  #evidenceMs = 0;
  #trialBatches = 0;
  /** Of level LZ and the content of late: milliseconds per byte, share of the bytes saved. */
  #costPerByte: number | null = null;
  /** How much longer the lane's work takes than the processor time it needs. */
  #crowd = 1;
  #saving = 0.5;
  #linkMsPerByte: number | null = null;
  #isMeasured = false;
  /** Null before the first span: whoever made the measurement had another clock. */
  #startMs: number | null = null;
  #knownUntilMs: number | null = null;
  #knownMs = KNOWN_MS;
  /** Raw bytes per millisecond before the change to the level in force; null unless that was to a lighter one. */
  #rateBefore: number | null = null;
  /** Sums of the span under way. */
  #packMs = 0;
  #rawBytes = 0;
  #packedBytes = 0;

  /** `capBytesPerMs`: this lane's share of a bandwidth limit. `link`: what an earlier migration found out. */
  constructor(capBytesPerMs: number | null, link: KnownLink | null = null) {
    this.#capBytesPerMs = capBytesPerMs;
    if (link === null) return;
    this.#linkMsPerByte = link.msPerByte;
    this.#isMeasured = link.isMeasured;
    const bytesPerMs = Math.min(1 / link.msPerByte, capBytesPerMs ?? Infinity);
    if (!(link.isMeasured ? isFast(bytesPerMs) : provesFast(bytesPerMs))) return;
    // It carries pages faster than a lane packs them. What packing would cost is the table's word until it is tried.
    this.#level = STORE;
    this.#costPerByte = LZ_MS_PER_BYTE;
  }

  /** Null before the first span. */
  get link(): KnownLink | null {
    return this.#linkMsPerByte === null ? null : { msPerByte: this.#linkMsPerByte, isMeasured: this.#isMeasured };
  }

  /** Index in `compressionLevels`. */
  get level(): number {
    return this.#level;
  }

  /** A batch whose content can be compressed was packed at the level in force, in so much processor time. */
  packed(rawBytes: number, packedBytes: number, ms: number): void {
    this.#rawBytes += rawBytes;
    this.#packedBytes += packedBytes;
    this.#packMs += ms;
    const level = this.#level;
    if (level === 0 || rawBytes === 0) return;
    const cost = ms / rawBytes;
    const saving = Math.max(0, 1 - packedBytes / rawBytes);
    const share = Math.min(1, rawBytes / FULL_BATCH_BYTES);
    if (share < 1) this.#costPerByte ??= LZ_MS_PER_BYTE;
    if (this.#costPerByte === null) {
      this.#costPerByte = cost / this.#costs[level]!;
      this.#saving = saving / this.#savings[level]!;
    } else if (this.#trialBatches > 0 && level !== LZ && share === 1) {
      // The mean of the trial, whatever was believed before.
      const weight = 1 / (TRIAL_BATCHES + 1 - this.#trialBatches);
      this.#trialBatches--;
      this.#tried[level] = true;
      this.#costs[level]! += weight * (cost / this.#costPerByte - this.#costs[level]!);
      if (this.#saving > 0.01) this.#savings[level]! += weight * (saving / this.#saving - this.#savings[level]!);
    } else {
      this.#costPerByte += share * WEIGHT * (cost / this.#costs[level]! - this.#costPerByte);
      this.#saving += share * WEIGHT * (saving / Math.max(0.1, this.#savings[level]!) - this.#saving);
    }
  }

  /** A span is over: decides the level of the next one. */
  spanEnded(span: LaneSpan): void {
    const [raw, packed, packMs] = [this.#rawBytes, this.#packedBytes, this.#packMs];
    this.#rawBytes = 0;
    this.#packedBytes = 0;
    this.#packMs = 0;
    this.#learnLink(span, raw);
    if (this.#costPerByte === null || raw === 0 || packed < SHARE_MIN * span.wireBytes) return;
    this.#crowd += WEIGHT * (Math.min(CROWD_MAX, Math.max(1, span.busyMs / Math.max(1, span.cpuMs))) - this.#crowd);
    const crowd = this.#crowd;
    const otherMs = crowd * Math.max(0, span.cpuMs - packMs);
    const otherBytes = Math.max(0, span.wireBytes - packed);
    const costWeight = COST_WEIGHT + CROWDED_COST * Math.max(0, 1 - span.hostIdle / CROWDED_BELOW);
    const linkMsPerByte = this.#linkEstimate(span);
    const times = this.#costs.map((_, level): LevelTime => {
      const costMs = crowd * raw * this.#costPerByte! * this.#costs[level]! * (this.#tried[level] === true ? 1 : HOPE);
      const saving = Math.min(0.999, this.#saving * this.#savings[level]!);
      const wireBytes = raw * (1 - saving);
      const linkMs = (wireBytes + otherBytes) * linkMsPerByte;
      const moreMs = crowd * (wireBytes - packed) * this.#costPerByte! * WIRE_COST;
      const unpackMs = crowd * raw * this.#costPerByte! * UNPACK_COST * (unpacks(level) - unpacks(this.#level));
      const destinationMs = Math.max(0, span.destinationBusyMs + moreMs + unpackMs);
      const slowestMs = Math.max(otherMs + costMs + moreMs, linkMs, destinationMs);
      const linkShare = span.link === null ? UNKNOWN_SHARE : linkMs / slowestMs;
      const isDoubtful = level < LZ && span.hostIdle < FREE_ABOVE;
      const handicap = isDoubtful ? gainOfLighter(span.link) : 1;
      return { ms: weighed(slowestMs, linkMs, 1 - saving) / handicap + costWeight * costMs, linkShare };
    });
    const next = this.#nextLevel(times, span);
    if (next === this.#level) return;
    this.#returns = next === this.#levelBefore ? this.#returns + 1 : 0;
    this.#rateBefore = next < this.#level ? raw / span.spanMs : null;
    this.#levelBefore = this.#level;
    this.#level = next;
    this.#evidenceMs = 0;
    this.#trialBatches = TRIAL_BATCHES;
  }

  #nextLevel(times: readonly LevelTime[], { nowMs, spanMs, hostIdle, link }: LaneSpan): number {
    const level = this.#level;
    const promised = (next: number): number => {
      const isBack = next === this.#levelBefore;
      return times[next]!.ms / times[level]!.ms + (isBack ? Math.min(BACK_GAIN_MAX, BACK_GAIN * this.#returns) : 0);
    };
    let best = 0;
    for (const [each, { ms }] of times.entries()) if (ms < times[best]!.ms) best = each;
    const isStored = level === STORE;
    if (hostIdle >= FREE_ABOVE || (!isStored && Math.max(best, level) > LZ))
      return promised(best) <= GAIN ? best : level;
    // To store or to pack.
    const other = isStored ? LZ : STORE;
    const isTooEarly = other === STORE && link === null && nowMs < this.#startMs! + TRIAL_AFTER_MS;
    this.#evidenceMs = isTooEarly ? 0 : Math.max(0, this.#evidenceMs + (1 - promised(other)) * spanMs);
    const isProved = other === STORE && link?.isMeasured === false;
    const neededMs = isProved ? 0 : EVIDENCE_MS * Math.min(1, 2 * times[STORE]!.linkShare);
    return this.#evidenceMs >= neededMs && this.#evidenceMs > 0 ? other : level;
  }

  #learnLink(span: LaneSpan, rawBytes: number): void {
    const { nowMs, spanMs, ackedBytes, link } = span;
    if (link !== null) {
      this.#linkMsPerByte = link.msPerByte;
      this.#isMeasured = link.isMeasured;
      this.#rateBefore = null;
      this.#knownUntilMs = link.isMeasured ? nowMs + KNOWN_MS : nowMs;
      return;
    }
    this.#startMs ??= nowMs;
    this.#knownUntilMs ??= nowMs + (this.#isMeasured ? KNOWN_MS_MAX : TRIAL_AFTER_MS);
    if (ackedBytes === 0 || spanMs <= 0) return;
    const seen = spanMs / ackedBytes;
    const isNoFaster = this.#rateBefore !== null && rawBytes / spanMs < FASTER * this.#rateBefore;
    this.#rateBefore = null;
    const waited = hasWaited(span, isNoFaster);
    const known = this.#linkMsPerByte;
    if (!waited) {
      // At least this fast.
      if (known === null || seen < known) {
        // What was measured before was something else than the link.
        if (this.#isMeasured && seen < WRONG * (known ?? 0)) this.#knownUntilMs = 0;
        this.#linkMsPerByte = seen;
        this.#isMeasured = false;
      }
      return;
    }
    // A mere bound from before says nothing beside a measurement.
    this.#linkMsPerByte = known === null || !this.#isMeasured ? seen : known + 0.5 * (seen - known);
    this.#isMeasured = true;
    if (nowMs >= this.#knownUntilMs) this.#knownMs = Math.min(KNOWN_MS_MAX, this.#knownMs * 2);
    this.#knownUntilMs = nowMs + this.#knownMs;
  }

  #linkEstimate({ nowMs, hostIdle }: LaneSpan): number {
    const seen = this.#linkMsPerByte ?? 0;
    const slack = hostIdle >= CROWDED_BELOW ? SLACK : SLACK_CROWDED;
    const estimate = nowMs < (this.#knownUntilMs ?? 0) ? seen : seen * slack;
    return this.#capBytesPerMs === null ? estimate : Math.max(estimate, 1 / this.#capBytesPerMs);
  }
}

/** What a lighter level must promise on a crowded host, by what the kernel says of the link. */
function gainOfLighter(link: KnownLink | null): number {
  if (link === null) return GAIN_LIGHTER_UNKNOWN;
  return !link.isMeasured || link.msPerByte <= FAST_LINK * LZ_MS_PER_BYTE ? GAIN_LIGHTER : GAIN_LIGHTER_SLOW;
}

function unpacks(level: number): number {
  return level === STORE ? 0 : 1;
}

/** What is made small: the time of which the link takes `linkMs`, and a little for what others on it feel. `sent`: share of the raw bytes. */
export function weighed(ms: number, linkMs: number, sent: number): number {
  return ms + BYTES_WEIGHT * sent * Math.min(ms, linkMs);
}

/** Whether the span shows how fast the link is. */
function hasWaited(span: LaneSpan, isNoFaster: boolean): boolean {
  const { spanMs, busyMs, blockedMs, hostIdle, destinationBusyMs, wireBytes, ackedBytes } = span;
  if (destinationBusyMs > BUSY_SHARE * spanMs || ackedBytes < FLOWING_SHARE * wireBytes) return false;
  if (blockedMs > BLOCKED_SHARE * spanMs || busyMs + destinationBusyMs < QUIET_SHARE * spanMs) return true;
  if (busyMs > (1 - IDLE_SHARE) * spanMs) return false;
  if (hostIdle >= FREE_ABOVE) return true;
  if (destinationBusyMs > CALM_SHARE * spanMs) return false;
  return isNoFaster || (hostIdle >= CROWDED_BELOW && busyMs < CALM_SHARE * spanMs);
}
