// A worker whose run was killed or interrupted would otherwise go on, with the servers that its tests started.
process.once("disconnect", () => process.exit(1));
