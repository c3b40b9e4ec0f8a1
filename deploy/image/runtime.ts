/** How Node is run in the image. Each setting was measured on the bundled agent, at rest and with 10,000 pods. */

/**
 * A young generation of 2 MB a half instead of 16: 100 MB less at the peak of the policy engine's largest loads, for no more CPU time. An old
 * one that grows by a fifth at a time: 30 MB less at the peak with 50,000 pods, for 1.7 CPU seconds more at that start. The compiler may put
 * functions of 800 octets of bytecode into others, up to 2000 in all, instead of 460 and 920: what a route goes through is a few pieces of
 * code instead of dozens, for a million routes 1.3 s instead of 1.8. With 1500 and 4000 that is no faster, and starts with many pods take a
 * tenth more CPU time. What a start or a load leaves behind is collected after a second of rest instead of eight, with which it met the changes
 * that came then. Memory beside the heap (the columns of the RIB) counts towards the limit of all memory, and not towards that of the heap, which is a
 * twentieth of it: else each load ended in a full collection, and often the first seconds after it saw one more; for a million routes 1.25 s
 * instead of 1.5, for 17 MB more.
 */
export const nodeFlags: readonly string[] = [
  '--max-semi-space-size=2',
  '--heap-growing-percent=20',
  '--max-inlined-bytecode-size=800',
  '--max-inlined-bytecode-size-cumulative=2000',
  '--gc-memory-reducer-start-delay-ms=1000',
  '--external-memory-accounted-in-global-limit',
];

/** One heap of malloc for all threads, given back as it becomes free: 3 MB less at rest, 10 MB at the peak. */
export const nodeEnvironment: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '131072',
};

export const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
