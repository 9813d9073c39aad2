import { PGlite } from "@electric-sql/pglite";
import { createOutbox } from "carteiro";
import { createPGliteKnex } from "carteiro/pglite";
import { smoke } from "./calls.mjs";

await smoke({ PGlite, createOutbox, createPGliteKnex });
console.log(`import: ok on Node ${process.versions.node}`);
