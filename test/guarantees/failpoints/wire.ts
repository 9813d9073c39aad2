/** A piece of what a client sends. */
export interface Piece {
  bytes: Buffer;
  /** The server answers it, and it is no part of the connection's own beginning or end. */
  isRequest: boolean;
}

export type Protocol = "pg" | "mysql2";

/** Cuts what a client sends into its requests, each as a whole. */
export function requestsOf(protocol: Protocol): (data: Buffer) => Piece[] {
  return protocol === "pg" ? postgresRequests() : mysqlRequests();
}

/** Tells when the answer to a request has arrived: the server has carried it out, and committed what it commits. */
export function answerOf(protocol: Protocol): (data: Buffer) => boolean {
  // MySQL's first packet comes when the statement is done; PostgreSQL may send rows before.
  if (protocol === "mysql2") return () => true;
  const messages = framed((buffer) => (buffer.length < 5 ? undefined : 1 + buffer.readUInt32BE(1)));
  return (data) => messages(data).some((message) => message[0] === READY_FOR_QUERY);
}

const READY_FOR_QUERY = "Z".charCodeAt(0);
const [QUERY, SYNC, TERMINATE] = ["Q", "S", "X"].map((letter) => letter.charCodeAt(0));
const COM_QUIT = 1;

/** A parse, a bind and an execute are sent up to the Sync that has them answered. */
function postgresRequests(): (data: Buffer) => Piece[] {
  let isStartup = true;
  let parts: Buffer[] = [];
  const messages = framed((buffer) => {
    if (isStartup) return buffer.length < 4 ? undefined : buffer.readUInt32BE(0);
    return buffer.length < 5 ? undefined : 1 + buffer.readUInt32BE(1);
  });
  return (data) =>
    messages(data, (message) => {
      const wasStartup = isStartup;
      isStartup = false;
      if (wasStartup) return [{ bytes: message, isRequest: false }];
      parts.push(message);
      const type = message[0];
      if (type !== QUERY && type !== SYNC && type !== TERMINATE) return [];
      const bytes = Buffer.concat(parts);
      parts = [];
      return [{ bytes, isRequest: type !== TERMINATE }];
    }).flat();
}

/** A command begins its packets at number 0; the handshake goes on from the server's. */
function mysqlRequests(): (data: Buffer) => Piece[] {
  const packets = framed((buffer) => (buffer.length < 4 ? undefined : 4 + buffer.readUIntLE(0, 3)));
  return (data) => packets(data).map((bytes) => ({ bytes, isRequest: bytes[3] === 0 && bytes[4] !== COM_QUIT }));
}

/** @param lengthOf of the message that the buffer begins with; undefined while that cannot be told */
function framed(lengthOf: (buffer: Buffer) => number | undefined) {
  let buffered = Buffer.alloc(0);
  function read(data: Buffer): Buffer[];
  function read<T>(data: Buffer, map: (message: Buffer) => T): T[];
  function read<T>(data: Buffer, map?: (message: Buffer) => T): (T | Buffer)[] {
    buffered = Buffer.concat([buffered, data]);
    const messages: (T | Buffer)[] = [];
    for (;;) {
      const length = lengthOf(buffered);
      if (length === undefined || buffered.length < length) return messages;
      const message = buffered.subarray(0, length);
      buffered = buffered.subarray(length);
      messages.push(map ? map(message) : message);
    }
  }
  return read;
}
