const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5000;

/**
 * Tries `work` again while it rejects, with growing pauses, for as long as a lease would hold without renewals: after that
 * somebody else may have taken over. Rejects with the last error.
 */
export async function stubbornly<T>(work: () => Promise<T>, forMs: number): Promise<T> {
  const until = performance.now() + forMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() + pauseMs > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** Tries `work` with each variant in turn, and rejects with the last error. @param variants at least one */
export async function firstThatWorks<Variant, T>(
  variants: readonly Variant[],
  work: (variant: Variant) => Promise<T>,
): Promise<T> {
  for (const variant of variants.slice(0, -1)) {
    try {
      return await work(variant);
    } catch {
      // The next one is tried.
    }
  }
  return work(variants.at(-1) as Variant);
}
