/** An ordering key, which is bytes, as what a map can find: one character for each byte. */
export function nameOf(key: Buffer): string {
  return key.toString("latin1");
}

export function keyOf(name: string): Buffer {
  return Buffer.from(name, "latin1");
}

/** The key that the caller gave, in UTF-8. */
export function textOf(name: string): string {
  return IS_ASCII.test(name) ? name : keyOf(name).toString();
}

const IS_ASCII = /^[\x01-\x7f]*$/;
