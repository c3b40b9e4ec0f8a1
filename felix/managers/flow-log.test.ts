/** A kernel that takes the rules that tell of packets, and one that does not: policies are the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import type { CommandRunner } from '../drivers/command.ts';
import { inputText } from '../drivers/command.ts';
import { createPolicyDataplane } from '../policy-dataplane.ts';

const flowLog = { verdicts: 'denied', group: 1179, ratePerSec: 10 } as const;

/** @param takes whether the kernel of this family takes NFLOG. */
async function programmed(takes: (argv: readonly string[]) => boolean) {
  const clock = new FakeClock();
  const restores: { readonly program: string; readonly text: string }[] = [];
  const run: CommandRunner['run'] = async (argv, options) => {
    if (argv[0] === 'ipset' || !argv.some((word) => word.endsWith('restore')))
      return { code: 0, stdout: '', stderr: '' };
    const text = await inputText(options?.stdin);
    if (text.includes('NFLOG') && !takes(argv))
      return { code: 2, stdout: '', stderr: 'Extension NFLOG revision 0 not supported, missing kernel module?' };
    restores.push({ program: argv.join(' '), text });
    return { code: 0, stdout: '', stderr: '' };
  };
  const tables = { use: () => undefined, rules: () => [], deleteRules: () => undefined, deleteTable: () => undefined };
  const dataplane = createPolicyDataplane({ run, tables, log: silentLogger, clock }, { backend: 'nft', flowLog });
  await dataplane.start();
  dataplane.apply([
    { type: 'policy', id: 'NetworkPolicy:ns/p', program: { ingress: [], egress: [] } },
    {
      type: 'endpoint',
      id: 'ns/a',
      program: {
        ingress: [{ tier: 'default', policies: ['NetworkPolicy:ns/p'], endOfTier: 'deny' }],
        egress: [],
      },
    },
  ]);
  dataplane.setEndpoint({ id: 'ns/a', interfaceName: 'pop1', addresses: [] });
  dataplane.setInSync();
  let done = false;
  void dataplane.whenApplied().then(() => {
    done = true;
  });
  const pass = async (): Promise<void> => {
    for (let i = 0; i < 500; i++) {
      clock.advance(1);
      await Promise.resolve();
    }
  };
  await pass();
  assert.ok(done);
  const of = (family: 4 | 6): string =>
    restores
      .filter(({ program }) => program.includes('ip6tables') === (family === 6))
      .map(({ text }) => text)
      .join('');
  return { dataplane, of, pass };
}

test('denials are told of where the kernel can', async () => {
  const { dataplane, of } = await programmed(() => true);
  for (const family of [4, 6] as const)
    assert.match(of(family), /-A poplin-tw-pop1 .*--nflog-group 1179 --nflog-prefix "DIT\|default"\n.*-j DROP/);
  assert.equal(dataplane.status().flowLogRefused, undefined);
});

test('a family whose kernel refuses them gets the same policies without, and the status says why', async () => {
  const { dataplane, of } = await programmed((argv) => !argv.join(' ').includes('ip6tables'));
  assert.match(of(4), /NFLOG/);
  assert.match(of(6), /-A poplin-tw-pop1 .*end of tier default" -j DROP/);
  assert.doesNotMatch(of(6), /NFLOG|poplin-nflog/);
  assert.match(dataplane.status().flowLogRefused ?? '', /IPv6 packets.*nfnetlink_log.*missing kernel module/);
  assert.equal(dataplane.status().lastError, undefined);
});

test('modules that are loaded later are used from the next reading back on', async () => {
  let loaded = false;
  const { dataplane, of, pass } = await programmed(() => loaded);
  assert.doesNotMatch(of(4), /NFLOG/);
  loaded = true;
  dataplane.resync();
  await pass();
  for (const family of [4, 6] as const) assert.match(of(family), /-A poplin-tw-pop1 .*--nflog-prefix "DIT\|default"/);
  assert.equal(dataplane.status().flowLogRefused, undefined);
  assert.equal(dataplane.status().repairs, 0);
});
