import { createHmac, createSecretKey, KeyObject, timingSafeEqual } from "node:crypto";
import { types } from "node:util";
import { flag, refuseUnknown } from "./checks.js";
import { InvalidOptionError, SignatureError } from "./errors.js";
import type { CallContent } from "./store/stored-call.js";
import type { SigningKey, SigningOptions } from "./types.js";

/** Signs calls on their way into the table, and refuses those that are not as they were when they were signed. */
export interface Signing {
  sign(call: CallContent, payload: string): string;
  /** @throws {SignatureError} */
  verify(call: CallContent, payload: string): void;
}

/** Names what is signed, and how: another one of either gets another name. It begins each signature, and is part of what is signed. */
const FORMAT = "1";
/** What HMAC-SHA256 gives: a shorter key would be the easier one to find. */
const LEAST_KEY_BYTES = 32;

/** @throws {InvalidOptionError} naming the option; no message shows what may be a key */
export function resolveSigning(options: SigningOptions | undefined): Signing | undefined {
  if (options === undefined) return undefined;
  if (options === null || typeof options !== "object" || Array.isArray(options))
    throw new InvalidOptionError("signing", "must be an object such as {keys: [key]}");
  refuseUnknown("signing", options, { keys: true, allowUnsigned: true });
  const { keys, allowUnsigned = false } = options;
  if (!Array.isArray(keys) || keys.length === 0)
    throw new InvalidOptionError("signing.keys", "must be an array of keys: the one that signs, then older ones");
  return signingBy(
    keys.map((key: SigningKey, place) => secretKey(`signing.keys[${place}]`, key)),
    flag("signing.allowUnsigned", allowUnsigned),
  );
}

/** As an object of node's, which shows its bytes to no logger. */
function secretKey(option: string, key: unknown): KeyObject {
  const secret = key instanceof KeyObject ? key : asSecret(option, key);
  const bytes = secret.symmetricKeySize;
  if (bytes === undefined)
    throw new InvalidOptionError(option, `is a ${secret.type} key; HMAC takes a secret one, of random bytes`);
  if (bytes < LEAST_KEY_BYTES)
    throw new InvalidOptionError(option, `has ${bytes} bytes; give at least ${LEAST_KEY_BYTES}, of random ones`);
  return secret;
}

function asSecret(option: string, key: unknown): KeyObject {
  if (typeof key === "string") return createSecretKey(key, "utf8");
  if (types.isUint8Array(key)) return createSecretKey(key);
  throw new InvalidOptionError(option, "must be a text, a Uint8Array or a KeyObject");
}

function signingBy(keys: readonly KeyObject[], allowUnsigned: boolean): Signing {
  return {
    sign: (call, payload) => signature(keys[0] as KeyObject, call, payload),
    verify(call, payload) {
      if (call.signature === undefined && allowUnsigned) return;
      if (call.signature === undefined)
        throw refused(call, "is not signed: signing was off where it was stored, or somebody wrote it into the table");
      const found = Buffer.from(call.signature);
      const isRight = keys.some((key) => {
        const right = Buffer.from(signature(key, call, payload));
        return right.length === found.length && timingSafeEqual(right, found);
      });
      if (!isRight)
        throw refused(
          call,
          "does not match its signature: it was changed in the table, or signed with a key that signing.keys does not have here",
        );
    },
  };
}

function signature(key: KeyObject, call: CallContent, payload: string): string {
  const hmac = createHmac("sha256", key);
  for (const field of signedFields(call, payload)) {
    // With its length before it no field can lend bytes to its neighbour.
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(field));
    hmac.update(length).update(field);
  }
  return `${FORMAT}.${hmac.digest("base64url")}`;
}

/** Every field that decides what runs; each as the table gives it back, byte by byte. */
function signedFields(call: CallContent, payload: string): (string | Buffer)[] {
  const { id, functionName, stream, strategy, orderingKey, codec, version, headers } = call;
  return [FORMAT, id, functionName, stream, strategy, orderingKey, codec, String(version), payload, headers];
}

function refused({ id, functionName }: CallContent, problem: string): SignatureError {
  return new SignatureError(`call ${id} of ${functionName} ${problem}. It was not run`);
}
