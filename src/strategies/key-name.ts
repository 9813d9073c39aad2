/** An ordering key as what a map can find: one character for each byte. */
export function nameOf(key: Buffer): string {
  return key.toString("latin1");
}
