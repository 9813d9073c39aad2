import { dirname, join } from "node:path";
import ts from "typescript";
import { root } from "./markdown.js";

/** The repository's own settings, and the package's names leading to its source. */
function settings(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), (file) => ts.sys.readFile(file)) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
  return {
    ...options,
    noUnusedLocals: false,
    paths: {
      carteiro: [join(root, "src/index.ts")],
      "carteiro/pglite": [join(root, "src/pglite.ts")],
      "carteiro/migrations": [join(root, "migrations/index.ts")],
    },
  };
}

/** A program of the repository's files and of others that are only in `virtual`, by their absolute names. */
export function compile(files: readonly string[], virtual: ReadonlyMap<string, string> = new Map()): ts.Program {
  const options = settings();
  const host = ts.createCompilerHost(options);
  const { directoryExists, fileExists, readFile, getSourceFile } = host;
  const folders = new Set(Array.from(virtual.keys(), (file) => dirname(file)));
  host.directoryExists = (folder) => folders.has(folder) || (directoryExists?.(folder) ?? true);
  host.fileExists = (file) => virtual.has(file) || fileExists(file);
  host.readFile = (file) => virtual.get(file) ?? readFile(file);
  host.getSourceFile = (file, version, ...rest) => {
    const text = virtual.get(file);
    return text === undefined ? getSourceFile(file, version, ...rest) : ts.createSourceFile(file, text, version);
  };
  return ts.createProgram([...files, ...virtual.keys()], options, host);
}

/** What is wrong with a file, as `line: message`. */
export function problemsOf(program: ts.Program, file: string): string[] {
  const source = program.getSourceFile(file);
  if (!source) throw new Error(`the program has no file ${file}`);
  return ts.getPreEmitDiagnostics(program, source).map(({ start = 0, messageText }) => {
    const { line } = source.getLineAndCharacterOfPosition(start);
    return `${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
}
