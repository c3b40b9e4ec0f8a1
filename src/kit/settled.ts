/** Waits for all, whatever happens, so that nothing still runs when what comes next begins; then throws the first failure. */
export async function allSettledOrThrow(work: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work)) if (outcome.status === 'rejected') throw outcome.reason;
}
