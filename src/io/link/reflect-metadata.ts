/**
 * The three functions of the metadata proposal that `@peculiar/x509` demands at load time (through tsyringe, which uses
 * them for its dependency injection). Import this file before the package. A real polyfill that is already there wins.
 */
type Metadata = Map<unknown, unknown>;
type Hooks = {
  getMetadata?: (key: unknown, target: object) => unknown;
  getOwnMetadata?: (key: unknown, target: object) => unknown;
  defineMetadata?: (key: unknown, value: unknown, target: object) => void;
  metadata?: (key: unknown, value: unknown) => (target: object, property?: PropertyKey) => void;
};

const store = new WeakMap<object, Metadata>();

function define(key: unknown, value: unknown, target: object): void {
  const entries = store.get(target) ?? new Map<unknown, unknown>();
  store.set(target, entries.set(key, value));
}

function find(key: unknown, target: object): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const entries = store.get(at);
    if (entries?.has(key) === true) return entries.get(key);
  }
  return undefined;
}

const hooks = Reflect as Hooks;
if (hooks.getMetadata === undefined) {
  hooks.defineMetadata = define;
  hooks.getMetadata = find;
  hooks.getOwnMetadata = (key, target) => store.get(target)?.get(key);
  hooks.metadata = (key, value) => (target, property) => {
    // Only what is said of classes is ever asked for.
    if (property === undefined) define(key, value, target);
  };
}
