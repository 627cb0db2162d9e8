/**
 * The figures as Prometheus wants them (docs/telemetry.md lists them): base units, counters that end in `_total` and only grow
 * while the agent lives, one label for what is counted several times. What a sample gives as a rate is added up, so that
 * Prometheus can make a rate over any time of it.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { MigrationReport } from '../../core/model/migration.ts';
import { PAGE_BYTES } from '../../core/model/units.ts';
import type { HostTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';

/** Seconds, from a small guest in a fast network to a large one in a slow one. */
const TOTAL_BUCKETS = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
const DOWNTIME_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10];
const SAMPLE_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];

export class Metrics {
  readonly #registry = new Registry();
  readonly #host: HostMetrics;
  readonly #vm: VmMetrics;
  readonly #migrations: MigrationMetrics;
  readonly #sampling: Histogram;

  constructor(version: string, migrationsInProgress: () => number) {
    const make = metricMaker(this.#registry);
    make.gauge('vmferry_build_info', 'The agent; always 1', ['version']).set({ version }, 1);
    this.#host = new HostMetrics(make);
    this.#vm = new VmMetrics(make);
    this.#migrations = new MigrationMetrics(make, migrationsInProgress);
    this.#sampling = make.histogram(
      'vmferry_sample_duration_seconds',
      'Time that a look at the host took',
      SAMPLE_BUCKETS,
    );
  }

  sampled(sample: HostTelemetry, elapsedMs: number | null, tookMs: number): void {
    const seconds = (elapsedMs ?? 0) / 1000;
    this.#host.sampled(sample, seconds);
    this.#vm.sampled(sample.vms, seconds);
    this.#sampling.observe(tookMs / 1000);
  }

  migrationEnded(report: MigrationReport): void {
    this.#migrations.ended(report);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}

type MetricMaker = {
  readonly gauge: (name: string, help: string, labelNames?: readonly string[]) => Gauge;
  readonly counter: (name: string, help: string, labelNames?: readonly string[]) => Counter;
  readonly histogram: (name: string, help: string, buckets: number[]) => Histogram;
};

function metricMaker(registry: Registry): MetricMaker {
  const registers = [registry];
  return {
    gauge: (name, help, labelNames = []) => new Gauge({ name, help, labelNames: [...labelNames], registers }),
    counter: (name, help, labelNames = []) => new Counter({ name, help, labelNames: [...labelNames], registers }),
    histogram: (name, help, buckets) => new Histogram({ name, help, buckets, registers }),
  };
}

class HostMetrics {
  readonly #gauges: Readonly<Record<'cores' | 'memory' | 'available', Gauge>>;
  readonly #counters: Readonly<Record<'used' | 'guests' | 'received' | 'sent' | 'read' | 'written', Counter>>;
  readonly #vms: Gauge;
  readonly #peers: Readonly<Record<'up' | 'roundTrip' | 'link', Gauge>>;

  constructor({ gauge, counter }: MetricMaker) {
    this.#gauges = {
      cores: gauge('vmferry_host_cpu_cores', 'Processors that VMs of the host may use'),
      memory: gauge('vmferry_host_memory_size_bytes', 'Memory of the host'),
      available: gauge('vmferry_host_memory_available_bytes', 'Memory that can be given to a new process'),
    };
    this.#counters = {
      used: counter('vmferry_host_cpu_seconds_total', 'Processor time that was used on the host'),
      guests: counter('vmferry_host_guest_cpu_seconds_total', 'Processor time of the vCPU threads of all VMs'),
      received: counter('vmferry_host_network_receive_bytes_total', 'Received from other hosts'),
      sent: counter('vmferry_host_network_transmit_bytes_total', 'Sent to other hosts'),
      read: counter('vmferry_host_disk_read_bytes_total', 'Read from disks of the host'),
      written: counter('vmferry_host_disk_written_bytes_total', 'Written to disks of the host'),
    };
    this.#vms = gauge('vmferry_host_vms', 'VMs of the host', ['state']);
    this.#peers = {
      up: gauge('vmferry_peer_up', 'Whether the agent of the peer answers', ['peer']),
      roundTrip: gauge('vmferry_peer_round_trip_seconds', 'Time until the agent of the peer answers', ['peer']),
      link: gauge('vmferry_peer_link_bytes_per_second', 'Rate of the link to the peer, as last measured', ['peer']),
    };
  }

  sampled({ cpu, memory, network, disk, peers, vms }: HostTelemetry, seconds: number): void {
    this.#gauges.cores.set(cpu.cores);
    this.#gauges.memory.set(memory.totalBytes);
    this.#gauges.available.set(memory.availableBytes);
    this.#counters.used.inc((cpu.usedCores ?? 0) * seconds);
    this.#counters.guests.inc(cpu.guestCores * seconds);
    this.#counters.received.inc((network.receivedBytesPerS ?? 0) * seconds);
    this.#counters.sent.inc((network.sentBytesPerS ?? 0) * seconds);
    this.#counters.read.inc((disk.readBytesPerS ?? 0) * seconds);
    this.#counters.written.inc((disk.writtenBytesPerS ?? 0) * seconds);
    this.#vms.reset();
    for (const { state } of vms) this.#vms.inc({ state });
    for (const { name: peer, reachable, roundTripMs, linkBytesPerS } of peers) {
      this.#peers.up.set({ peer }, reachable ? 1 : 0);
      setOrRemove(this.#peers.roundTrip, { peer }, roundTripMs === null ? null : roundTripMs / 1000);
      setOrRemove(this.#peers.link, { peer }, linkBytesPerS);
    }
  }
}

/** A figure of one VM, with the labels that it has besides the VM's name. */
type OfVm<Metric> = {
  readonly metric: Metric;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: (vm: VmTelemetry) => number | null;
};

class VmMetrics {
  readonly #gauges: readonly OfVm<Gauge>[];
  readonly #counters: readonly OfVm<Counter>[];
  #known = new Set<string>();

  constructor({ gauge, counter }: MetricMaker) {
    const labels = {};
    const of = (name: string, help: string, value: OfVm<Gauge>['value']): OfVm<Gauge> => {
      return { metric: gauge(`vmferry_vm_${name}`, help, ['vm']), labels, value };
    };
    this.#gauges = [
      of('vcpus', 'Virtual processors', (vm) => vm.vcpus),
      of('cpu_cap_cores', 'Processors that its control group allows it', (vm) => vm.capCores),
      of('running', 'Whether it runs here', (vm) => (vm.state === 'running' || vm.state === 'migrating' ? 1 : 0)),
      of('memory_assigned_bytes', 'Memory that the guest was given', (vm) => vm.memory.assignedBytes),
      of('memory_resident_bytes', 'Memory of the host that its QEMU holds', (vm) => vm.memory.residentBytes),
      of('memory_used_bytes', 'Memory used by the guest by its own account', (vm) => vm.memory.usedBytes),
      of('dirty_bytes_per_second', 'Memory that it writes to, each page counted once', (vm) => vm.dirtyBytesPerS),
    ];
    const cpu = counter('vmferry_vm_cpu_seconds_total', 'Processor time', ['vm', 'kind']);
    const network = (kind: string, help: string, value: OfVm<Counter>['value']): OfVm<Counter> => {
      return { metric: counter(`vmferry_vm_network_${kind}_bytes_total`, help, ['vm']), labels, value };
    };
    const disk = (kind: string, help: string, value: OfVm<Counter>['value']): OfVm<Counter> => {
      return { metric: counter(`vmferry_vm_disk_${kind}_bytes_total`, help, ['vm']), labels, value };
    };
    this.#counters = [
      { metric: cpu, labels: { kind: 'guest' }, value: (vm) => vm.guestCores },
      { metric: cpu, labels: { kind: 'overhead' }, value: (vm) => vm.overheadCores },
      network('receive', 'Received by the guest through its taps', (vm) => vm.network.receivedBytesPerS),
      network('transmit', 'Sent by the guest through its taps', (vm) => vm.network.sentBytesPerS),
      disk('read', 'Read from storage by its QEMU', (vm) => vm.disk.readBytesPerS),
      disk('written', 'Written to storage by its QEMU', (vm) => vm.disk.writtenBytesPerS),
    ];
  }

  sampled(vms: readonly VmTelemetry[], seconds: number): void {
    const present = new Set(vms.map(({ name }) => name));
    for (const vm of this.#known) if (!present.has(vm)) this.#forget(vm);
    this.#known = present;
    for (const vm of vms) {
      for (const { metric, labels, value } of this.#gauges) setOrRemove(metric, { vm: vm.name, ...labels }, value(vm));
      for (const { metric, labels, value } of this.#counters) {
        const rate = value(vm);
        if (rate !== null) metric.inc({ vm: vm.name, ...labels }, rate * seconds);
      }
    }
  }

  #forget(vm: string): void {
    for (const { metric, labels } of [...this.#gauges, ...this.#counters]) metric.remove({ vm, ...labels });
  }
}

class MigrationMetrics {
  readonly #ended: Counter;
  readonly #failures: Counter;
  readonly #total: Histogram;
  readonly #downtime: Histogram;
  readonly #sent: Counter;
  readonly #saved: Counter;

  constructor({ gauge, counter, histogram }: MetricMaker, inProgress: () => number) {
    const running = gauge(
      'vmferry_migrations_in_progress',
      'Migrations from this host, and arrivals that are not whole',
    );
    // The library calls it before it prints.
    Object.assign(running, { collect: () => running.set(inProgress()) });
    this.#ended = counter('vmferry_migrations_total', 'Ended migrations from this host', ['outcome']);
    this.#failures = counter('vmferry_migration_failures_total', 'Migrations that did not complete, by why', ['code']);
    this.#total = histogram('vmferry_migration_duration_seconds', 'Total time of completed migrations', TOTAL_BUCKETS);
    this.#downtime = histogram(
      'vmferry_migration_downtime_seconds',
      'How long the guest stood still in completed migrations',
      DOWNTIME_BUCKETS,
    );
    this.#sent = counter('vmferry_migration_sent_bytes_total', 'Sent for pages: for the first time, or again', [
      'kind',
    ]);
    this.#saved = counter(
      'vmferry_migration_saved_bytes_total',
      'Not sent: zero pages, pages that the guest can do without, what compression and deltas took off',
      ['kind'],
    );
    for (const outcome of ['completed', 'aborted', 'failed']) this.#ended.inc({ outcome }, 0);
    for (const kind of ['first', 'again']) this.#sent.inc({ kind }, 0);
    for (const kind of ['zero', 'pruned', 'packed']) this.#saved.inc({ kind }, 0);
  }

  ended({ outcome, code, totalMs, downtimeMs, bytes, pages }: MigrationReport): void {
    this.#ended.inc({ outcome });
    if (outcome === 'completed') this.#total.observe(totalMs / 1000);
    else this.#failures.inc({ code: code ?? 'unknown' });
    if (outcome === 'completed' && downtimeMs !== null) this.#downtime.observe(downtimeMs / 1000);
    this.#sent.inc({ kind: 'first' }, Math.max(0, bytes.wire - bytes.resent));
    this.#sent.inc({ kind: 'again' }, bytes.resent);
    this.#saved.inc({ kind: 'zero' }, pages.zero * PAGE_BYTES);
    this.#saved.inc({ kind: 'pruned' }, (pages.pruned ?? 0) * PAGE_BYTES);
    this.#saved.inc({ kind: 'packed' }, Math.max(0, bytes.raw - bytes.wire));
  }
}

function setOrRemove(metric: Gauge, labels: Readonly<Record<string, string>>, value: number | null): void {
  if (value === null) metric.remove(labels);
  else metric.set(labels, value);
}
