export { down, up } from "../src/store/migrate.js";
export type { TableOptions } from "../src/store/tables.js";
