/** Policy suites by real packets: every operation of the format, tiers, and Calico's kinds, through the agent's pipeline and dataplane, with both back ends. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { namespacesWith } from '#lab';
import { loadPolicySuite } from '../policy-suite/format.ts';
import { KernelJudge } from '../policy-suite/kernel/kernel.ts';
import { runCase } from '../policy-suite/run.ts';
import { needs } from '../support/needs.ts';

const machine = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'ip', 'nsenter', 'conntrack'],
});
const cases = ['suite-operations.json', 'suite-tiers.json', 'suite-calico.json'].flatMap(
  (file) => loadPolicySuite(path.join(import.meta.dirname, '..', 'fixtures', 'policy', file)).cases,
);

for (const backend of ['nft', 'legacy'] as const) {
  suite(`policy suites on packets, iptables-${backend}`, machine, () => {
    let judge: KernelJudge | undefined;
    after(async () => {
      await judge?.end();
      assert.deepEqual(namespacesWith(`pl-suite-${process.pid}.`), []);
    });
    for (const suiteCase of cases) {
      test(suiteCase.title, async () => {
        judge ??= await KernelJudge.create({ backend });
        const { mismatches } = await runCase(suiteCase, [judge]);
        assert.deepEqual(mismatches, []);
      });
    }
  });
}
