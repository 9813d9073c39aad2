import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/** Imports point one way: cli → outbox → strategies, relay → run → store. */
const above = {
  store: ["run", "operator", "strategies", "relay", "cli"],
  run: ["operator", "strategies", "relay", "cli"],
  strategies: ["relay", "cli"],
  relay: ["cli"],
  operator: ["strategies", "relay", "cli"],
};
const importDirections = Object.entries(above).map(([folder, folders]) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          { group: [...folders.map((name) => `**/${name}/*`), "../outbox.js"], message: "Imports point one way." },
        ],
      },
    ],
  },
}));

export default defineConfig(
  { ignores: ["dist/", "coverage/", "docs/api/"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      // A knex builder that nobody awaits is never sent, and only this option sees that it is a thenable.
      "@typescript-eslint/no-floating-promises": ["error", { checkThenables: true }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/return-await": ["error", "error-handling-correctness-only"],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_" },
      ],
      "@typescript-eslint/no-confusing-void-expression": [
        "error",
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      // With noUncheckedIndexedAccess, `!` is how a proven index says so.
      "@typescript-eslint/no-non-null-assertion": "off",
      // JavaScript callers pass what the types forbid, and the library checks for it.
      "@typescript-eslint/no-unnecessary-condition": "off",
      // Public signatures take a type parameter once to keep the caller's inference.
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
    },
  },
  {
    files: ["src/**/*.ts", "migrations/**/*.ts"],
    ignores: ["src/cli/**"],
    rules: { "no-console": "error" },
  },
  ...importDirections,
  {
    files: ["test/**/*.ts", "examples/**/*.ts", "bench/**/*.ts"],
    rules: {
      // The functions that a suite wraps are async by contract, even where they only note that they ran.
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-empty-function": "off",
      "@typescript-eslint/unbound-method": "off",
    },
  },
);
