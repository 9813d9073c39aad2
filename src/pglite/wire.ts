import type { WireValue } from "./parameters.js";

/** The most parameters that one statement can carry: the protocol counts them in 16 bits. */
export const maxParameters = 65_535;

/**
 * SQL without parameters, any number of statements: the simple query protocol.
 *
 * @throws TypeError where the text holds a NUL character
 */
export function simpleQuery(sql: string): Uint8Array {
  const request = new RequestWriter();
  request.message("Q", () => request.cString(sql));
  refuseCopy(request, sql);
  return request.written();
}

/**
 * One statement with at most `maxParameters` parameters, whose types the server infers: the extended query protocol.
 *
 * @throws TypeError where the text holds a NUL character
 */
export function extendedQuery(sql: string, values: readonly WireValue[]): Uint8Array {
  const request = new RequestWriter();
  request.message("P", () => {
    request.cString("");
    request.cString(sql);
    request.int16(0);
  });
  request.message("B", () => {
    request.cString("");
    request.cString("");
    request.int16(values.length);
    for (const value of values) request.int16(value instanceof Uint8Array ? 1 : 0);
    request.int16(values.length);
    for (const value of values) request.parameter(value);
    request.int16(0);
  });
  request.message("D", () => request.cString("P"));
  request.message("E", () => {
    request.cString("");
    request.int32(0);
  });
  refuseCopy(request, sql);
  request.message("S");
  return request.written();
}

/**
 * COPY … FROM STDIN waits for data that nobody will send, and PGlite takes the end of its input for the end of the client,
 * and exits. Refused in advance, it is an ordinary error of the statement; a server that is not copying skips the refusal.
 */
function refuseCopy(request: RequestWriter, sql: string): void {
  if (/\bcopy\b/i.test(sql)) request.message("f", () => request.cString("send the rows as an INSERT's parameters"));
}

class RequestWriter {
  #bytes = Buffer.allocUnsafe(512);
  #end = 0;

  /** One message: its type and its length, before what `writeBody` adds to it. */
  message(type: string, writeBody?: () => void): void {
    this.#text(type, type.length);
    const lengthAt = this.#end;
    this.int32(0);
    writeBody?.();
    this.#bytes.writeInt32BE(this.#end - lengthAt, lengthAt);
  }

  cString(text: string): void {
    if (text.includes("\0")) throw new TypeError("The SQL text holds a NUL character, which PostgreSQL cannot read.");
    this.#text(text, Buffer.byteLength(text));
    this.#text("\0", 1);
  }

  parameter(value: WireValue): void {
    if (value === null) return this.int32(-1);
    const length = Buffer.byteLength(value);
    this.int32(length);
    if (typeof value === "string") return this.#text(value, length);
    this.#reserve(length);
    this.#bytes.set(value, this.#end);
    this.#end += length;
  }

  int16(value: number): void {
    this.#reserve(2);
    this.#end = this.#bytes.writeUInt16BE(value, this.#end);
  }

  int32(value: number): void {
    this.#reserve(4);
    this.#end = this.#bytes.writeInt32BE(value, this.#end);
  }

  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#end);
  }

  #text(text: string, byteLength: number): void {
    this.#reserve(byteLength);
    this.#end += this.#bytes.write(text, this.#end);
  }

  #reserve(byteLength: number): void {
    const needed = this.#end + byteLength;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(2 * needed);
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
