/** Buffers, typed arrays, ArrayBuffers and DataViews: their bytes in base64, numbers in little-endian order. */
import { endianness } from "node:os";
import { isDeepStrictEqual, types } from "node:util";
import { type Reviver } from "./carried.js";
import { type Place, refusePlace } from "./place.js";
import { refuseExtras } from "./plain.js";
import { type Carry } from "./walk.js";

type TypedArray = Uint8Array | BigInt64Array;
interface TypedArrayConstructor {
  readonly name: string;
  readonly prototype: TypedArray;
  readonly BYTES_PER_ELEMENT: number;
  new (content: ArrayBuffer | TypedArray): TypedArray;
}

const TYPED_ARRAYS = [
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "BigInt64Array",
  "BigUint64Array",
  "Float16Array",
  "Float32Array",
  "Float64Array",
]
  .map((name) => (globalThis as Record<string, unknown>)[name] as TypedArrayConstructor | undefined)
  // Float16Array is missing from Node 20 and 22.
  .filter((constructor) => constructor !== undefined);

export const bytesCarries: readonly (readonly [object, Carry])[] = [
  ...TYPED_ARRAYS.map((constructor) => [constructor.prototype, carryTypedArray(constructor)] as const),
  [Buffer.prototype, carryBuffer],
  [ArrayBuffer.prototype, carryArrayBuffer],
  [DataView.prototype, carryDataView],
];

export const bytesRevivers: readonly (readonly [string, Reviver])[] = [
  ...TYPED_ARRAYS.map((constructor) => [constructor.name, reviverOf(constructor)] as const),
  ["Buffer", (value) => decodeBase64(value, "Buffer")],
  ["ArrayBuffer", (value) => aligned(decodeBase64(value, "ArrayBuffer"))],
  ["DataView", (value) => new DataView(aligned(decodeBase64(value, "DataView")))],
];

function carryTypedArray(constructor: TypedArrayConstructor): Carry {
  return (value, place, walk) => {
    if (!types.isTypedArray(value)) return refuseImpostor(place, constructor.name);
    refuseUnownedBytes(value, place);
    refuseExpandos(value, new constructor(value as TypedArray), place);
    return walk.carried(constructor.name, encodeBase64(value, constructor.BYTES_PER_ELEMENT));
  };
}

function carryBuffer(...[value, place, walk]: Parameters<Carry>): unknown {
  if (!types.isUint8Array(value)) return refuseImpostor(place, "Buffer");
  refuseUnownedBytes(value, place);
  refuseExpandos(value, Buffer.from(value), place);
  return walk.carried("Buffer", encodeBase64(value, 1));
}

function carryArrayBuffer(...[value, place, walk]: Parameters<Carry>): unknown {
  if (!types.isArrayBuffer(value)) return refuseImpostor(place, "ArrayBuffer");
  refuseExtras(value, place);
  if ((value as { resizable?: boolean }).resizable === true) {
    refusePlace(place, "is a resizable ArrayBuffer; pass a slice() of it");
  }
  return walk.carried("ArrayBuffer", encodeBase64(viewOf(value, place), 1));
}

function carryDataView(...[value, place, walk]: Parameters<Carry>): unknown {
  if (!types.isDataView(value)) return refuseImpostor(place, "DataView");
  refuseExtras(value, place);
  refuseUnownedBytes(value, place);
  return walk.carried("DataView", encodeBase64(value, 1));
}

function refuseImpostor(place: Place, name: string): never {
  return refusePlace(place, `has the prototype of ${name} and is none; pass one`);
}

/** Bytes that another thread may write, or that have been handed on, are not the caller's to store. */
function refuseUnownedBytes(view: ArrayBufferView, place: Place): void {
  if (types.isSharedArrayBuffer(view.buffer)) refusePlace(place, "is a view of shared memory; pass a copy");
  viewOf(view.buffer, place);
}

function viewOf(buffer: ArrayBufferLike, place: Place): Uint8Array {
  try {
    return new Uint8Array(buffer);
  } catch (error) {
    return refusePlace(place, "has no bytes any more, since they were transferred; pass a copy", { cause: error });
  }
}

/** Compares with a copy, since asking an array of bytes for its keys names every byte. */
function refuseExpandos(value: object, copy: object, place: Place): void {
  if (!isDeepStrictEqual(value, copy)) {
    refusePlace(place, "has properties put on it, which would be lost; pass them beside");
  }
}

function encodeBase64(view: ArrayBufferView, elementSize: number): string {
  const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return inLittleEndian(bytes, elementSize).toString("base64");
}

function decodeBase64(value: unknown, type: string): Buffer {
  if (typeof value === "string") {
    const bytes = Buffer.from(value, "base64");
    if (bytes.toString("base64") === value) return bytes;
  }
  throw new Error(`the content of ${type} is not base64`);
}

function reviverOf(constructor: TypedArrayConstructor): Reviver {
  return (value) => {
    const bytes = inLittleEndian(decodeBase64(value, constructor.name), constructor.BYTES_PER_ELEMENT);
    return new constructor(aligned(bytes));
  };
}

function aligned(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

/**
 * From this machine's order to little-endian, or back.
 *
 * @internal
 */
export function inLittleEndian(bytes: Buffer, elementSize: number, machine: "LE" | "BE" = endianness()): Buffer {
  if (machine === "LE" || elementSize === 1) return bytes;
  const swapped = Buffer.from(bytes);
  if (elementSize === 2) return swapped.swap16();
  return elementSize === 4 ? swapped.swap32() : swapped.swap64();
}
