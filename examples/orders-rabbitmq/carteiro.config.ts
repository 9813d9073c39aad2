/** What the command line works on: `npx carteiro status`, run from this folder. */
export { outbox as default } from "./outbox.js";
