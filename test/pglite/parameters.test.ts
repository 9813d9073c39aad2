import { afterEach, describe, expect, it, vi } from "vitest";
import { toWireValue } from "../../src/pglite/parameters.js";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("a Date as a parameter", () => {
  it.each<[zone: string, date: string, text: string]>([
    ["UTC", "2024-05-05T03:04:05.678Z", "2024-05-05T03:04:05.678+00:00"],
    ["America/Sao_Paulo", "2024-05-05T01:04:05.678Z", "2024-05-04T22:04:05.678-03:00"],
    ["America/New_York", "2024-07-01T00:00:00Z", "2024-06-30T20:00:00.000-04:00"],
    ["Asia/Kolkata", "2023-12-31T20:00:00Z", "2024-01-01T01:30:00.000+05:30"],
    ["America/St_Johns", "2024-01-01T00:00:00Z", "2023-12-31T20:30:00.000-03:30"],
    ["UTC", "+012024-02-01T00:00:00Z", "12024-02-01T00:00:00.000+00:00"],
    ["UTC", "0099-02-01T00:00:00Z", "0099-02-01T00:00:00.000+00:00"],
    ["UTC", "0000-03-15T00:00:00Z", "0001-03-15T00:00:00.000+00:00 BC"],
    ["UTC", "-000043-03-15T00:00:00Z", "0044-03-15T00:00:00.000+00:00 BC"],
  ])("is local time with its offset in %s: %s", (zone, date, text) => {
    vi.stubEnv("TZ", zone);
    expect(toWireValue(new Date(date))).toBe(text);
  });
});

describe("an object as a parameter", () => {
  it("is NULL where JSON leaves it out", () => {
    expect(toWireValue({ toJSON: () => undefined })).toBeNull();
  });
});
