/** Which of the two iptables this node's Kubernetes uses, found as kubernetes-sigs/iptables-wrappers does. */
import type { IpFamily } from '#kit';
import type { CommandRunner } from '../command.ts';

export type Backend = 'nft' | 'legacy';

/** `-t TABLE` is left out for legacy on purpose: it would make the kernel create the table. */
export function saveArgv(backend: Backend, family: IpFamily, table?: string): string[] {
  const program = family === 4 ? 'iptables-save' : 'ip6tables-save';
  return [`xtables-${backend}-multi`, program, ...(table && backend === 'nft' ? ['-t', table] : [])];
}

/** `lockWaitSec` is how long to wait for the xtables lock, which only legacy takes. */
export function restoreArgv(backend: Backend, family: IpFamily, lockWaitSec = 10): string[] {
  const program = family === 4 ? 'iptables-restore' : 'ip6tables-restore';
  return [`xtables-${backend}-multi`, program, '--noflush', '-w', String(lockWaitSec)];
}

/**
 * iptables-legacy reads the whole table, 2 MB with 4,000 rules, into memory several times over: in pages of 2 MB where the kernel has them it takes a tenth
 * less time. Another libc than glibc, and an older one than 2.35, looks at none of this.
 */
export function restoreEnv(backend: Backend): Readonly<Record<string, string>> {
  return backend === 'legacy' ? { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1:glibc.malloc.top_pad=4194304' } : {};
}

const kubeletChains = /^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY) /m;

/** The kubelet leaves a chain in mangle for this purpose; nft is looked at first because it is cheap. Without any: nft. */
export async function detectBackend(
  run: CommandRunner['run'],
  families: readonly IpFamily[],
  env: Readonly<Record<string, string>>,
): Promise<Backend> {
  for (const backend of ['nft', 'legacy'] as const) {
    for (const family of families) {
      const { code, stdout } = await run(saveArgv(backend, family, 'mangle'), { env, timeoutMs: 30_000 });
      if (code === 0 && kubeletChains.test(stdout)) return backend;
    }
  }
  return 'nft';
}
