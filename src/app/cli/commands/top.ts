/** `vmferry top`: what a host and its VMs do, live. */
import { describeError } from '../../../core/base/errors.ts';
import type { AgentClient } from '../../client/agent-client.ts';
import { printResult, withAgent } from '../console.ts';
import type { CommonOptions, Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { paint, widthOf } from '../spans.ts';
import type { Terminal } from '../terminal.ts';
import { renderTop, type TopView } from '../top-screen.ts';

const REFRESH_MS = 1_000;
const ANSWER_MS = 5_000;
/** A minute of seconds. */
const SERIES_POINTS = 60;
/** Of more VMs the minute before is not asked for: the screen has no room for them anyway. */
const SERIES_VMS_MAX = 50;
/** Where nobody says how wide lines may be. */
const PLAIN_COLUMNS = 140;

export type TopOptions = CommonOptions & { readonly once?: boolean };

/** Until q or Ctrl-C; one screen where there is no terminal. */
export async function top(options: TopOptions, console: Console): Promise<ExitCode> {
  await withAgent(console, options, async (client) => {
    if (options.json === true) {
      printResult(console, options, await client.call('telemetry', {}), () => []);
      return;
    }
    const view = new LiveView(client);
    await view.begin();
    const terminal = options.once === true ? null : console.openTerminal();
    if (terminal === null) {
      for (const line of renderTop(view.current, console.screen.width() ?? PLAIN_COLUMNS, null)) {
        console.print(paint(line, false));
      }
      return;
    }
    await watch(view, terminal, console);
  });
  return exitCodes.completed;
}

async function watch(view: LiveView, terminal: Terminal, console: Console): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const draw = (): void => {
    const { columns, rows } = terminal.size();
    const lines = renderTop(view.current, columns, rows);
    // Each line erases what is left of the one before it (ECMA-48 EL), the last one all below (ED): nothing flickers. At
    // the end of a full line the cursor still stands on its last character, which EL would erase.
    const text = lines.map((line) => paint(line, terminal.isColored) + (widthOf(line) < columns ? '\u001b[K' : ''));
    terminal.write(`\u001b[H${text.join('\n')}${lines.length < rows ? '\n\u001b[J' : ''}`);
  };
  terminal.onEvent((event) => {
    if (event === 'q' || event === 'Q' || event === '\u0003') ended.resolve();
    else if (event === 'resize') draw();
  });
  const forget = console.onInterrupt(() => ended.resolve());
  let refreshing = false;
  const refresh = async (): Promise<void> => {
    if (refreshing) return;
    refreshing = true;
    await view.refresh();
    refreshing = false;
    draw();
  };
  const timer = setInterval(() => void refresh(), REFRESH_MS);
  try {
    draw();
    await ended.promise;
  } finally {
    clearInterval(timer);
    forget();
    terminal.close();
  }
}

/** What is on the screen, kept up to date. */
class LiveView {
  readonly #client: AgentClient;
  #current: TopView | null = null;

  constructor(client: AgentClient) {
    this.#client = client;
  }

  get current(): TopView {
    if (this.#current === null) throw new Error('The view has not begun');
    return this.#current;
  }

  /** With the minute before. Throws ClientError, RefusalError. */
  async begin(): Promise<void> {
    const now = await this.#ask();
    const vmSeries = new Map<string, (number | null)[]>();
    for (const { name } of now.telemetry.vms.slice(0, SERIES_VMS_MAX)) vmSeries.set(name, await this.#minuteOf(name));
    this.#current = { ...now, hostSeries: await this.#minuteOf(undefined), vmSeries, trouble: null };
  }

  /** An agent that does not answer is trouble that the screen shows. */
  async refresh(): Promise<void> {
    const { hostSeries, vmSeries, telemetry: before } = this.current;
    try {
      const now = await this.#ask();
      const isNew = now.telemetry.atMs !== before.atMs;
      this.#current = {
        ...now,
        hostSeries: isNew ? appended(hostSeries, now.telemetry.cpu.usedCores) : hostSeries,
        vmSeries: isNew
          ? new Map(now.telemetry.vms.map((vm) => [vm.name, appended(vmSeries.get(vm.name) ?? [], vm.guestCores)]))
          : vmSeries,
        trouble: null,
      };
    } catch (error) {
      this.#current = { ...this.current, trouble: describeError(error) };
    }
  }

  async #ask(): Promise<Pick<TopView, 'telemetry' | 'migrations'>> {
    const [telemetry, { migrations }] = await Promise.all([
      this.#client.call('telemetry', {}, { timeoutMs: ANSWER_MS }),
      this.#client.call('listMigrations', {}, { timeoutMs: ANSWER_MS }),
    ]);
    return { telemetry, migrations };
  }

  async #minuteOf(vm: string | undefined): Promise<(number | null)[]> {
    const query = { minutes: 1, ...(vm !== undefined && { vm }) };
    const { points } = await this.#client.call('telemetryHistory', { query });
    return points.slice(-SERIES_POINTS).map(({ cores }) => cores);
  }
}

function appended(series: readonly (number | null)[], value: number | null): (number | null)[] {
  return [...series, value].slice(-SERIES_POINTS);
}
