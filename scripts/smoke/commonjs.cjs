const { PGlite } = require("@electric-sql/pglite");
const { createOutbox } = require("carteiro");
const { createPGliteKnex } = require("carteiro/pglite");
const { smoke } = require("./calls.mjs");

smoke({ PGlite, createOutbox, createPGliteKnex }).then(
  () => console.log(`require: ok on Node ${process.versions.node}`),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
