/**
 * Policy suites by real packets, through the agent's pipeline and dataplane, with either back end and both families: every operation of the format, tiers,
 * Calico's kinds, and a part of the published suites.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { namespacesWith } from '#lab';
import { loadPolicySuite } from '../policy-suite/format.ts';
import { KernelJudge } from '../policy-suite/kernel/kernel.ts';
import { runCase } from '../policy-suite/run.ts';
import type { SuiteCase } from '../policy-suite/suite.ts';
import { needs } from './needs.ts';

export const packetNeeds = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'ip', 'nsenter', 'conntrack'],
});
const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'policy');
const casesOf = (file: string): readonly SuiteCase[] => loadPolicySuite(path.join(fixtures, file)).cases;
const ours = ['suite-operations.json', 'suite-tiers.json', 'suite-calico.json'].flatMap(casesOf);
const published = fs
  .readdirSync(fixtures)
  .filter((file) => file.endsWith('.json.gz'))
  .sort()
  .flatMap(casesOf);
/** Of the published suites, of each back end: a step with something denied takes a second. All of them: `npm run policy-suite -- --kernel FILE...` */
const stepsMax = 24;
/** Connections of a step, besides those where a hole would be easiest to miss. */
const sample = 40;

/** Cases at even distances by steps, so that every suite and each of its parts has its share; `share` of the distance is left out at the start. */
function spread(cases: readonly SuiteCase[], share: number): readonly SuiteCase[] {
  const distance = cases.reduce((sum, { steps }) => sum + steps.length, 0) / stepsMax;
  const picked: SuiteCase[] = [];
  let passed = 0;
  let next = distance * share;
  for (const each of cases) {
    passed += each.steps.length;
    if (passed <= next) continue;
    picked.push(each);
    next = Math.max(next, passed - each.steps.length) + distance * each.steps.length;
  }
  return picked;
}

/** Tests of one back end, in a suite of their own; each back end has a process: most of the time is silence. */
export function policySuitesOnPackets(backend: 'nft' | 'legacy'): void {
  let judge: KernelJudge | undefined;
  after(async () => {
    await judge?.end();
    assert.deepEqual(namespacesWith(`pl-suite-${process.pid}.`), []);
  });
  // Other ones with either back end.
  const picked = spread(published, backend === 'nft' ? 0 : 0.5);
  for (const suiteCase of [...ours, ...picked]) {
    const isOurs = ours.includes(suiteCase);
    test(isOurs ? suiteCase.title : suiteCase.id, async () => {
      judge ??= await KernelJudge.create({ backend });
      const { mismatches } = await runCase(suiteCase, [judge], isOurs ? {} : { sample });
      assert.deepEqual(mismatches, []);
    });
  }
}
