/**
 * Runs a pure state machine against the world: one event at a time, its effects started in order.
 *
 * An effect reports what came of it as another event. An event that is told while another one is being handled waits
 * its turn, so a machine never sees a half-made step.
 */
export type Step<State, Effect> = { readonly state: State; readonly effects: readonly Effect[] };

export class MachineDriver<State, Event, Effect> {
  readonly #step: (state: State, event: Event) => Step<State, Effect>;
  readonly #run: (effect: Effect) => void;
  readonly #onState: (state: State) => void;
  readonly #waiting: Event[] = [];
  #state: State;
  #busy = false;

  constructor(
    first: State,
    step: (state: State, event: Event) => Step<State, Effect>,
    handlers: { readonly run: (effect: Effect) => void; readonly onState: (state: State) => void },
  ) {
    this.#state = first;
    this.#step = step;
    this.#run = handlers.run;
    this.#onState = handlers.onState;
  }

  get state(): State {
    return this.#state;
  }

  /** Starts effects that the machine did not ask for in answer to an event: the first ones, or those of a recovery. */
  start(effects: readonly Effect[]): void {
    this.#onState(this.#state);
    for (const effect of effects) this.#run(effect);
  }

  /** Tells the machine a fact. Throws MachineError when the fact cannot be true in the machine's state. */
  tell(event: Event): void {
    this.#waiting.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        const { state, effects } = this.#step(this.#state, next);
        const changed = state !== this.#state;
        this.#state = state;
        if (changed) this.#onState(state);
        for (const effect of effects) this.#run(effect);
      }
    } finally {
      this.#busy = false;
    }
  }
}
