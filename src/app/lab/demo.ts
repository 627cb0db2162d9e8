/**
 * The demo: the same guest, on the same two hosts and link, moved by vmferry and by QEMU itself, watched from outside.
 *
 * Every mode gets a fresh guest of the same spec, which is moved once its writer has gone through its memory; only one
 * guest runs at a time. docs/demo.md says what is measured how.
 */
import { availableParallelism } from 'node:os';
import { formatBytes, formatMs, formatRate } from '../../core/model/units.ts';
import { vmSpecSchema } from '../../core/model/vm.ts';
import type { VmSpec, VmView } from '../../core/model/vm.ts';
import { moveModes, ratiosOf, rowsOf } from './comparison.ts';
import type { ModeRatio, ModeRow, MoveMode, MoveSample } from './comparison.ts';
import { renderComparison, renderConclusion, wrapWords } from './comparison-table.ts';
import { HEARTBEAT_PORT, HeartbeatListener } from './heartbeat-listener.ts';
import { defaultQemu } from './host-agent.ts';
import { labDown, labUp } from './lab.ts';
import { checkMoved, moveWatched, waitForPass, waitUntilReady } from './move-watch.ts';
import type { MovableGuest, Moved, Watched, WatchTools, WriterParser } from './move-watch.ts';
import { Narrator } from './narrator.ts';
import type { Terminal } from './narrator.ts';
import { NativeGuest } from './native-migration.ts';
import { bridgeName, linkBitsPerS, planLab } from './plan.ts';
import type { HostName, LabPlan, LinkName } from './plan.ts';
import { ResidentMemory } from './resident-memory.ts';
import { VmferryGuest } from './vmferry-migration.ts';

/** The spec of the demo's guest for a place in the lab: where its heartbeats go, its own address, its bridge. */
export type GuestRecipe = (place: {
  readonly heartbeat: string;
  readonly address: string;
  readonly bridge: string;
}) => {
  readonly spec: unknown;
  /** For people: memory, file cache, writer. */
  readonly description: string;
};

export type DemoOptions = {
  readonly labName: string;
  readonly link: LinkName;
  readonly runs: number;
  /** Only the table and the conclusion. */
  readonly quiet: boolean;
  readonly guest: GuestRecipe;
  readonly parseWriterLines: WriterParser;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
};

export type DemoResult = {
  readonly link: LinkName;
  readonly accelerator: 'kvm' | 'tcg';
  readonly processors: number;
  readonly guest: string;
  /** Medians over the runs. */
  readonly rows: readonly ModeRow[];
  readonly ratios: readonly ModeRatio[];
  /** Every move, in the order in which they were made. */
  readonly runs: readonly MoveSample[];
  /** vmferry's move of the first run's guest back from b to a; not part of the rows. */
  readonly back: MoveSample | null;
};

const GUEST_HOST_NUMBER = 10;
const TEXT_COLUMNS = 100;

const modeTexts: Readonly<Record<MoveMode, string>> = {
  vmferry: 'vmferry, default options',
  'qemu-default': "QEMU's own migration: pre-copy over TCP, its defaults, bandwidth unlimited",
  'qemu-multifd-zstd': "QEMU's own migration with multifd (2 channels) and zstd, bandwidth unlimited",
};

/**
 * Runs the demo in a lab of its own: one of the same name is removed before, and after, whatever happens. Throws
 * LabError and what starting and moving guests throws; AbortError when `signal` fires.
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const narrator = new Narrator(options.quiet ? { ...options.terminal, write: () => undefined } : options.terminal);
  const plan = planLab(options.labName);
  let heartbeats: HeartbeatListener | null = null;
  try {
    narrator.heading(
      `Two hosts on this machine, a and b, with a link of ${formatRate(linkBitsPerS[options.link] / 8)}`,
    );
    await labDown(plan.name);
    await narrator.during('bringing the lab up', labUp({ name: plan.name, link: options.link }));
    options.signal.throwIfAborted();
    heartbeats = await HeartbeatListener.start(plan.hosts[0]);
    const { parseWriterLines, signal } = options;
    const demo = new Demo(options, narrator, { plan, heartbeats, parseWriterLines, signal });
    const result = await demo.run();
    narrator.heading('Result');
    for (const line of renderComparison(result.runs, result.back)) options.terminal.write(`  ${line}\n`);
    narrator.heading(legend(options.runs).join('\n'));
    options.terminal.write(`\n${wrapWords(renderConclusion(result.runs), TEXT_COLUMNS).join('\n')}\n`);
    return result;
  } finally {
    heartbeats?.stop();
    narrator.heading('Clean-up');
    await narrator.during('taking the lab down', labDown(plan.name));
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #narrator: Narrator;
  readonly #tools: WatchTools;
  readonly #spec: VmSpec;
  readonly #description: string;
  /** The first guest that vmferry started, from which the QEMUs take machine type and accelerator. */
  #reference: VmView | null = null;
  #back: MoveSample | null = null;

  constructor(options: DemoOptions, narrator: Narrator, tools: WatchTools) {
    this.#options = options;
    this.#narrator = narrator;
    this.#tools = tools;
    const { spec, description } = options.guest(placeOf(tools.plan));
    this.#spec = vmSpecSchema.parse(spec);
    this.#description = description;
  }

  async run(): Promise<DemoResult> {
    const samples: MoveSample[] = [];
    for (let run = 1; run <= this.#options.runs; run++) {
      for (const mode of moveModes) samples.push(await this.#sample(mode, run));
    }
    return {
      link: this.#options.link,
      accelerator: this.#reference?.accelerator ?? 'tcg',
      processors: availableParallelism(),
      guest: this.#description,
      rows: rowsOf(samples),
      ratios: ratiosOf(samples),
      runs: samples,
      back: this.#back,
    };
  }

  async #sample(mode: MoveMode, run: number): Promise<MoveSample> {
    const { runs } = this.#options;
    this.#narrator.heading(`${runs === 1 ? '' : `Run ${run} of ${runs}: `}${modeTexts[mode]}`);
    if (run === 1 && mode === 'vmferry') this.#narrator.line(`the guest: ${this.#description}`);
    const guest = await this.#narrator.during('starting a guest on host a', this.#start(mode));
    try {
      const sample = await this.#moveFresh(guest, mode, run);
      await guest.stop();
      return sample;
    } catch (error) {
      // What cannot be stopped now goes down with the lab; the first error is the one to tell.
      await guest.stop().catch(() => undefined);
      throw error;
    }
  }

  async #moveFresh(guest: MovableGuest, mode: MoveMode, run: number): Promise<MoveSample> {
    const pages = await this.#narrator.during('booting', waitUntilReady(guest, this.#tools), () => 'ready');
    await this.#tools.heartbeats.take();
    const wholePass = waitForPass(guest, pages, this.#tools);
    await this.#narrator.during('letting its writer go once through its memory', wholePass);
    const there: MoveSample = { mode, run, ...(await this.#move(guest, 'b', pages, run)) };
    if (mode === 'vmferry' && run === 1 && there.outcome === 'completed') {
      this.#narrator.heading('And back again');
      this.#back = { mode, run, ...(await this.#move(guest, 'a', pages, run)) };
    }
    return there;
  }

  async #start(mode: MoveMode): Promise<MovableGuest> {
    const { plan, signal } = this.#tools;
    if (mode === 'vmferry') {
      const guest = await VmferryGuest.start(plan, this.#spec, signal);
      this.#reference ??= guest.view;
      return guest;
    }
    const { machine = this.#spec.machine, accelerator } = this.#reference ?? {};
    const spec = { ...this.#spec, machine };
    return await NativeGuest.start({
      plan,
      mode,
      spec,
      signal,
      accelerator: accelerator ?? 'tcg',
      binary: defaultQemu(),
    });
  }

  /** vmferry's moves of the first run are shown as its CLI shows them: there with all it says, back with its progress. */
  async #move(guest: MovableGuest, to: HostName, pages: number, run: number): Promise<Watched> {
    await using memory = ResidentMemory.forGuest(this.#spec.memory);
    await this.#narrator.during('making free memory resident', memory.ready(this.#tools.signal));
    const moving = async (): Promise<Moved> => await moveWatched(guest, to, this.#tools, memory);
    let moved: Moved;
    if (guest instanceof VmferryGuest && run === 1 && !this.#options.quiet) {
      guest.show = to === 'b' ? 'all' : 'progress';
      this.#narrator.line(`$ vmferry migrate ${guest.view.name} ${to}`);
      moved = await moving();
      if (to === 'b') this.#narrator.heading('Seen from outside');
    } else {
      if (guest instanceof VmferryGuest) guest.show = 'nothing';
      moved = await this.#narrator.during(`moving it to host ${to}`, moving(), ({ outcome }) => outcome);
    }
    const checking = checkMoved(guest, pages, moved, this.#tools);
    const checked = await this.#narrator.during('letting its writer check all its memory there', checking);
    this.#tell(checked);
    return checked;
  }

  #tell(seen: Watched): void {
    if (seen.outcome !== 'completed') this.#narrator.line(`it was not moved: ${seen.reason}`);
    if (seen.totalMs !== null) {
      const downtime = seen.downtimeMs === null ? 'unknown' : formatMs(seen.downtimeMs);
      this.#narrator.line(
        `moved in ${formatMs(seen.totalMs)}, downtime ${downtime}, ${formatBytes(seen.wireBytes)} on the wire`,
      );
    }
    const { before, after } = seen.pagesWritten;
    this.#narrator.line(
      `the writer went on counting from ${grouped(before)} to ${grouped(after)} pages, ` +
        `corrupted words ${grouped(seen.corruptedWords)}`,
    );
    this.#narrator.line(
      `longest gap between heartbeats ${formatMs(seen.longestGapMs)} (${formatMs(seen.quietGapMs)} when left alone)`,
    );
  }
}

function legend(runs: number): string[] {
  return [
    ...(runs === 1 ? [] : [`Medians of ${runs} runs; corrupted words are summed.`]),
    'total        from the request until the guest runs at host b and its mover is done, the start of QEMU there',
    '             included',
    'downtime     as vmferry and QEMU say themselves',
    "longest gap  between the guest's heartbeats, one per millisecond, as host a receives them",
    'on the wire  counted at the link, both directions',
  ].map((line) => `  ${line}`);
}

function placeOf(plan: LabPlan): Parameters<GuestRecipe>[0] {
  const { address } = plan.hosts[0];
  const network = address.slice(0, address.lastIndexOf('.'));
  return {
    heartbeat: `${address}:${HEARTBEAT_PORT}`,
    address: `${network}.${GUEST_HOST_NUMBER}/${plan.prefixBits}`,
    bridge: bridgeName,
  };
}

/** Thousands apart by a blank: "202 144". */
function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ' ');
}
