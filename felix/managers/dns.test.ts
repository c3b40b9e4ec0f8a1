/** Sets of domain names: what is written for them and when, and a kernel that refuses the rules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type IpAddress, silentLogger } from '#kit';
import type { PolicyUpdate } from '#model';
import type { CommandRunner, SetMemberChange } from '../drivers/command.ts';
import { inputText } from '../drivers/command.ts';
import { createPolicyDataplane } from '../policy-dataplane.ts';

const id = 'domains:*.example.com';
const server = '192.0.2.53' as IpAddress;
const names: PolicyUpdate = { type: 'set', id, setType: 'ip', members: ['203.0.113.1'], domains: ['*.example.com'] };
const policy: PolicyUpdate = {
  type: 'policy',
  id: 'P',
  program: { ingress: [], egress: [{ action: 'allow', destination: { type: 'set', set: id } }] },
};

async function programmed({ takes = () => true, saved = '' }: { takes?: () => boolean; saved?: string } = {}) {
  const clock = new FakeClock();
  const iptables: string[] = [];
  const ipset: string[] = [];
  const members: SetMemberChange[] = [];
  let read = saved;
  const run: CommandRunner['run'] = async (argv, options) => {
    const text = await inputText(options?.stdin);
    if (argv[0] === 'ipset') {
      if (argv[1] === 'save') return { code: 0, stdout: read, stderr: '' };
      ipset.push(...text.trim().split('\n'));
    } else if (argv.some((word) => word.endsWith('restore'))) {
      if (text.includes('NFQUEUE') && !takes())
        return { code: 2, stdout: '', stderr: 'Extension NFQUEUE revision 0 not supported, missing kernel module?' };
      iptables.push(text);
    }
    return { code: 0, stdout: '', stderr: '' };
  };
  const tables = { use: () => undefined, rules: () => [], deleteRules: () => undefined, deleteTable: () => undefined };
  const dataplane = createPolicyDataplane(
    {
      run,
      tables,
      members: {
        change(changes) {
          members.push(...changes.filter((change) => change.op !== 'create'));
          return undefined;
        },
      },
      lifeOf: () => ({ timeoutSec: 30, comment: 'www.example.com' }),
      log: silentLogger,
      clock,
    },
    { backend: 'nft', families: [4], dnsQueue: 7 },
  );
  await dataplane.start();
  dataplane.setInSync();
  const settle = async (): Promise<void> => {
    let done = false;
    void dataplane.whenApplied().then(() => {
      done = true;
    });
    for (let i = 0; i < 500; i++) {
      clock.advance(1);
      await Promise.resolve();
    }
    assert.ok(done);
  };
  await settle();
  const forget = (): void => {
    for (const list of [iptables, ipset, members]) list.length = 0;
  };
  return { dataplane, clock, settle, iptables, ipset, members, forget, reads: (text: string) => (read = text) };
}

test('answers are held while a set of names is wanted, from trusted servers of the family alone', async () => {
  const w = await programmed();
  w.dataplane.setDnsServers([server, '2001:db8::53' as IpAddress]);
  await w.settle();
  assert.doesNotMatch(w.iptables.join(), /NFQUEUE|ctorigdst/);
  w.forget();
  w.dataplane.apply([names, policy]);
  await w.settle();
  const written = w.iptables.join();
  assert.match(written, /-A poplin-dns-answer .*-j NFQUEUE --queue-num 7 --queue-bypass/);
  assert.match(written, /-A poplin-dns -m conntrack --ctproto 17 --ctorigdst 192\.0\.2\.53 /);
  assert.match(written, /-[AI] poplin-forward (\d+ )?-o pop\+ -m conntrack --ctdir REPLY --ctorigdstport 53 /);
  assert.doesNotMatch(written, /2001:db8/);
  w.forget();
  w.dataplane.apply([
    { type: 'policy', id: 'P', program: { ingress: [], egress: [] } },
    { type: 'setRemove', id },
  ]);
  await w.settle();
  assert.match(w.iptables.join(), /poplin-forward/);
  assert.doesNotMatch(w.iptables.join(), /-j poplin-dns /);
});

test('of names that staged policies alone name answers are held too, and nothing else is written', async () => {
  const w = await programmed();
  w.dataplane.setDnsServers([server]);
  const staged = { staged: true } as const;
  w.dataplane.apply([
    { ...names, ...staged },
    { ...policy, ...staged },
  ]);
  w.dataplane.learn(id, [{ address: '203.0.113.2', timeoutSec: 12, comment: 'api.example.com' }]);
  w.dataplane.apply([{ type: 'setDelta', id, added: ['203.0.113.2'], removed: [] }]);
  await w.settle();
  assert.match(w.iptables.join(), /-A poplin-dns-answer .*-j NFQUEUE/);
  const ofNames = (): string[] =>
    [...w.ipset, ...w.members.map((change) => JSON.stringify(change))].filter((line) => line.includes('203.0.113.'));
  assert.deepEqual(ofNames(), []);
  // In force from now on, with what is known.
  w.dataplane.apply([{ ...names, members: ['203.0.113.2'] }, policy]);
  await w.settle();
  assert.match(ofNames().join(), /^add poplin4-\S+ 203\.0\.113\.2 timeout 30 comment "www\.example\.com" -exist$/);
  w.forget();
  w.dataplane.apply([
    { type: 'policy', id: 'P', program: { ingress: [], egress: [] } },
    { type: 'setRemove', id },
  ]);
  await w.settle();
  assert.doesNotMatch(w.iptables.join(), /-j poplin-dns /, 'nobody names them any more');
});

test('members come and go without a change of policy: at once, with their time, and never by a deletion', async () => {
  const w = await programmed();
  w.dataplane.apply([names, policy]);
  await w.settle();
  const [create, add] = w.ipset.filter((line) => line.includes('timeout'));
  assert.match(create!, /^create poplin4-\S+ hash:ip family inet maxelem 65536 timeout 60 comment -exist$/);
  assert.match(add!, /^add poplin4-\S+ 203\.0\.113\.1 timeout 30 comment "www\.example\.com" -exist$/);
  w.forget();
  w.dataplane.learn(id, [{ address: '203.0.113.2', timeoutSec: 12, comment: 'api.example.com' }]);
  assert.partialDeepStrictEqual(w.members, [
    { op: 'add', member: '203.0.113.2', life: { timeoutSec: 12, comment: 'api.example.com' } },
  ]);
  w.dataplane.apply([{ type: 'setDelta', id, added: ['203.0.113.2'], removed: [] }]);
  w.dataplane.apply([{ type: 'setDelta', id, added: [], removed: ['203.0.113.1'] }]);
  await w.settle();
  assert.deepEqual([w.members.length, w.ipset, w.iptables], [1, [], []]);
});

test('an address that is over and comes again meanwhile stays', async () => {
  const w = await programmed();
  w.dataplane.apply([names, policy]);
  await w.settle();
  const name = w.ipset.find((line) => line.startsWith('create') && line.includes('timeout'))!.split(' ')[1]!;
  w.dataplane.apply([{ type: 'setDelta', id, added: [], removed: ['203.0.113.1'] }]);
  w.dataplane.learn(id, [{ address: '203.0.113.1', timeoutSec: 12, comment: 'www.example.com' }]);
  w.dataplane.apply([{ type: 'setDelta', id, added: ['203.0.113.1'], removed: [] }]);
  await w.settle();
  w.forget();
  w.reads(
    `create ${name} hash:ip family inet hashsize 64 maxelem 65536 timeout 60 comment\nadd ${name} 203.0.113.1 timeout 11 comment "www.example.com"\n`,
  );
  w.dataplane.resync();
  await w.settle();
  assert.deepEqual(
    [...w.ipset, ...w.members].filter((line) => JSON.stringify(line).includes('203.0.113.1')),
    [],
  );
  assert.deepEqual(
    w.dataplane.learntBefore(id).map(({ address, comment }) => `${address} ${comment}`),
    ['203.0.113.1 www.example.com'],
  );
  w.clock.advance(11_000);
  assert.deepEqual(w.dataplane.learntBefore(id), []);
});

test('a kernel that refuses the rules gets the same policies without; it is asked again when rules are read back', async () => {
  let modules = false;
  const w = await programmed({ takes: () => modules });
  w.dataplane.setDnsServers([server]);
  w.dataplane.apply([names, policy]);
  await w.settle();
  assert.doesNotMatch(w.iptables.join(), /NFQUEUE/);
  assert.match(
    w.dataplane.status().dnsRefused!,
    /IPv4 packets, so addresses of domain names are not learnt.*nfnetlink_queue/,
  );
  assert.equal(w.dataplane.status().applied, true);
  modules = true;
  w.dataplane.resync();
  await w.settle();
  assert.equal(w.dataplane.status().dnsRefused, undefined);
  assert.match(w.iptables.join(), /NFQUEUE/);
});
