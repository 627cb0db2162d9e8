/** The outside of the program as the commands see it, so that tests can stand in for it. */
import { AgentClient } from '../client/agent-client.ts';
import { unixTransport } from '../client/unix-transport.ts';
import type { Screen } from './live-display.ts';
import { openTerminal, type Terminal } from './terminal.ts';

export const defaultSocket = '/run/vmferry/agent.sock';

export type Console = {
  /** Results: standard output, with a line end. */
  readonly print: (text: string) => void;
  /** Progress and remarks: standard error. */
  readonly remark: (text: string) => void;
  /** Progress in place, on standard error. */
  readonly screen: Screen;
  /** The terminal for a command that draws on all of it; null where input or output is none. */
  readonly openTerminal: () => Terminal | null;
  readonly connect: (socketPath: string) => AgentClient;
  /** Calls `listener` at each Ctrl-C instead of ending the program. Returns what ends that. */
  readonly onInterrupt: (listener: () => void) => () => void;
  /** Ends the program at once. */
  readonly leave: (code: number) => void;
};

export function realConsole(): Console {
  return {
    print: (text) => process.stdout.write(`${text}\n`),
    remark: (text) => process.stderr.write(`${text}\n`),
    screen: {
      write: (text) => process.stderr.write(text),
      width: () => (process.stderr.isTTY ? process.stderr.columns : null),
      nowMs: () => performance.now(),
    },
    openTerminal,
    connect: (socketPath) => new AgentClient(unixTransport(socketPath)),
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
    leave: (code) => process.exit(code),
  };
}

/** Options that every command gets. */
export type CommonOptions = { readonly socket: string; readonly json?: boolean };

/** Runs one exchange with the agent and closes the connection. */
export async function withAgent<Result>(
  console: Console,
  options: CommonOptions,
  run: (client: AgentClient) => Promise<Result>,
): Promise<Result> {
  const client = console.connect(options.socket);
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

/** Prints a result: as one JSON object, or as lines. */
export function printResult(
  console: Console,
  options: { readonly json?: boolean },
  value: unknown,
  lines: () => string[],
): void {
  if (options.json === true) console.print(JSON.stringify(value, null, 2));
  else for (const line of lines()) console.print(line);
}
