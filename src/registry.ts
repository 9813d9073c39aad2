import { DuplicateFunctionError } from "./errors.js";
import type { FunctionSettings } from "./options.js";
import type { Codec } from "./types.js";

/** A wrapped function and all that decides how its calls run. */
export interface FunctionDefinition extends FunctionSettings {
  fn: (...args: never[]) => unknown;
  orderingKey?: (...args: never[]) => string;
  upcast?: (args: unknown[], fromVersion: number) => unknown;
}

/** What this process can run: functions by their names and aliases, codecs by theirs. */
export class Registry {
  readonly #functions = new Map<string, FunctionDefinition>();
  readonly #codecs = new Map<string, Codec>();

  constructor(codec: Codec) {
    this.#codecs.set(codec.name, codec);
  }

  /** @throws {DuplicateFunctionError} one of its names is taken; nothing is registered then */
  register(definition: FunctionDefinition): void {
    const names = new Set([definition.name, ...definition.aliases]);
    for (const name of names) {
      const other = this.#functions.get(name);
      if (other) {
        throw new DuplicateFunctionError(
          `"${name}" is already a name of the function "${other.name}"; give each function a name of its own`,
        );
      }
    }
    for (const name of names) this.#functions.set(name, definition);
    this.#codecs.set(definition.codec.name, definition.codec);
  }

  /** The function that runs a stored call, unless this process does not know it, or only an older shape of its arguments. */
  find(call: { functionName: string; version: number }): FunctionDefinition | undefined {
    const definition = this.#functions.get(call.functionName);
    return definition !== undefined && call.version <= definition.version ? definition : undefined;
  }

  codecNamed(name: string): Codec | undefined {
    return this.#codecs.get(name);
  }

  codec(definition: FunctionDefinition, name: string): Codec | undefined {
    return definition.codec.name === name ? definition.codec : this.#codecs.get(name);
  }
}
