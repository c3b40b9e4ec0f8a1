/** The order of writes, on a machine made of two programs that remember what they were told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cidr, FakeClock, type IpAddress, silentLogger } from '#kit';
import type { PolicyRule, PolicyUpdate } from '#model';
import type { CommandRunner } from './drivers/command.ts';
import { inputText } from './drivers/command.ts';
import type { FlowTable } from './drivers/flow-table.ts';
import { groupedMin } from './managers/policy-groups.ts';
import { createPolicyDataplane } from './policy-dataplane.ts';

async function fake(flows?: FlowTable) {
  const clock = new FakeClock();
  /** What was restored, in order: `ipset` or `iptables`, and the lines. */
  const state = { broken: false };
  const writes: { readonly program: string; readonly lines: readonly string[] }[] = [];
  const run: CommandRunner['run'] = async (argv, options) => {
    const restore = argv.find((word) => word.endsWith('restore'));
    const lines = (await inputText(options?.stdin)).trim().split('\n');
    if (restore) writes.push({ program: argv[0] === 'ipset' ? 'ipset' : 'iptables', lines });
    return { code: state.broken && restore ? 1 : 0, stdout: '', stderr: '' };
  };
  const tables = {
    use: () => undefined,
    rules: () => [],
    deleteRules: () => undefined,
    deleteTable: () => undefined,
  };
  const dataplane = createPolicyDataplane(
    { run, tables, ...(flows && { flows: { table: flows, judge: () => true } }), log: silentLogger, clock },
    { backend: 'nft', families: [4] },
  );
  await dataplane.start();
  const settle = async (): Promise<typeof writes> => {
    writes.length = 0;
    let done = false;
    void dataplane.whenApplied().then(() => {
      done = true;
    });
    for (let i = 0; i < 500; i++) {
      clock.advance(1);
      await Promise.resolve();
    }
    assert.ok(done);
    return [...writes];
  };
  return { dataplane, settle, clock, writes, state };
}

const rule = (set: string, port: number, action: PolicyRule['action'] = 'allow'): PolicyRule => ({
  action,
  protocol: 6,
  destinationPorts: [{ first: port, last: port }],
  source: { type: 'set', set },
});
const policy = (id: string, ...ingress: PolicyRule[]): PolicyUpdate => ({
  type: 'policy',
  id,
  program: { ingress, egress: [] },
});
const tier = (...policies: string[]) => [{ tier: 'default', policies, endOfTier: 'deny' as const }];

async function base() {
  const world = await fake();
  world.dataplane.apply([
    { type: 'set', id: 'A', setType: 'ip', members: ['10.0.0.1', '10.0.0.2'] },
    { type: 'set', id: 'B', setType: 'ip', members: ['10.0.0.3'] },
    policy('P', rule('A', 80)),
    policy('Q', rule('B', 80)),
    { type: 'endpoint', id: 'ns/a', program: { ingress: tier('P', 'Q'), egress: [] } },
  ]);
  world.dataplane.setEndpoint({ id: 'ns/a', interfaceName: 'pop1', addresses: [] });
  world.dataplane.setInSync();
  await world.settle();
  return world;
}
/** `add 10.0.0.1`, `-A`, `:` and so on, without names. */
const outline = (writes: readonly { program: string; lines: readonly string[] }[]): string[] =>
  writes.map(
    ({ program, lines }) =>
      `${program} ${lines.map((line) => (/^(add|del)/.test(line) ? line.replace(/(\S+) \S+ (\S+).*/, '$1 $2') : line.split(' ')[0])).join(' ')}`,
  );

test('sets are there before the chains that name them and go after them', async () => {
  const { dataplane, settle } = await fake();
  dataplane.apply([
    { type: 'set', id: 'A', setType: 'ip', members: ['10.0.0.1'] },
    policy('P', rule('A', 80), {
      action: 'allow',
      source: { type: 'cidr', cidr: '10.0.0.0/8' as Cidr, except: ['10.0.0.0/24' as Cidr] },
    }),
    { type: 'endpoint', id: 'ns/a', program: { ingress: tier('P'), egress: [] } },
  ]);
  dataplane.setEndpoint({ id: 'ns/a', interfaceName: 'pop1', addresses: [] });
  dataplane.setInSync();
  const first = await settle();
  assert.deepEqual(
    first.map(({ program }) => program),
    ['ipset', 'iptables'],
  );
  const created = new Set(first[0]!.lines.flatMap((line) => /^create (\S+)/.exec(line)?.[1] ?? []));
  const named = first[1]!.lines.flatMap((line) => [...line.matchAll(/--match-set (\S+)/g)].map((match) => match[1]!));
  assert.ok(named.length >= 3);
  for (const name of named) assert.ok(created.has(name), name);

  dataplane.apply([
    { type: 'endpoint', id: 'ns/a', program: { ingress: [], egress: [] } },
    { type: 'policyRemove', id: 'P' },
    { type: 'setRemove', id: 'A' },
  ]);
  const last = await settle();
  // The endpoint's chain lets go, then the policy's chain is deleted, then its two sets.
  assert.deepEqual(outline(last), [
    'iptables *mangle :poplin-tw-pop1 -A COMMIT',
    last[1] ? `iptables *mangle ${last[1].lines[1]!.split(' ')[0]} -X COMMIT` : '',
    'ipset destroy destroy',
  ]);
});

test('a pod that moves from one set to another is never in neither', async () => {
  const { dataplane, settle } = await base();
  dataplane.apply([
    { type: 'setDelta', id: 'A', added: [], removed: ['10.0.0.1'] },
    { type: 'setDelta', id: 'B', added: ['10.0.0.1'], removed: [] },
  ]);
  assert.deepEqual(outline(await settle()), ['ipset add 10.0.0.1', 'ipset del 10.0.0.1']);
});

test('a rule that changes together with its set never meets members that it was not made for', async () => {
  const { dataplane, settle } = await base();
  dataplane.apply([
    { type: 'setDelta', id: 'A', added: ['10.0.0.9'], removed: ['10.0.0.1'] },
    policy('P', rule('A', 443)),
  ]);
  const writes = outline(await settle());
  assert.equal(writes[0], 'ipset del 10.0.0.1');
  assert.match(writes[1]!, /^iptables \*mangle :poplin-pi-\S+ -A COMMIT$/);
  assert.equal(writes[2], 'ipset add 10.0.0.9');
  // What denies grows first and shrinks last.
  dataplane.apply([policy('P', rule('A', 443, 'deny'))]);
  await settle();
  dataplane.apply([
    { type: 'setDelta', id: 'A', added: ['10.0.0.1'], removed: ['10.0.0.9'] },
    policy('P', rule('A', 444, 'deny')),
  ]);
  assert.deepEqual(
    outline(await settle()).map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['ipset add', 'iptables *mangle', 'ipset del'],
  );
});

test('nothing that did not change is written', async () => {
  const { dataplane, settle } = await base();
  dataplane.apply([
    policy('P', rule('A', 80)),
    { type: 'set', id: 'A', setType: 'ip', members: ['10.0.0.2', '10.0.0.1'] },
    { type: 'setDelta', id: 'B', added: ['10.0.0.3'], removed: ['10.0.0.77'] },
    { type: 'endpoint', id: 'ns/a', program: { ingress: tier('P', 'Q'), egress: [] } },
  ]);
  assert.deepEqual(await settle(), []);
});

test('of staged policies nothing is written: neither they nor the sets that they alone name, until one in force does', async () => {
  const { dataplane, settle } = await base();
  const staged = { staged: true } as const;
  const program = { ingress: tier('P', 'Q'), egress: [] };
  const set = { type: 'set', id: 'S', setType: 'ip' } as const;
  dataplane.apply([
    { ...set, members: ['10.0.0.7'], ...staged },
    { ...policy('S', rule('S', 80, 'deny')), ...staged } as PolicyUpdate,
    { type: 'endpoint', id: 'ns/a', program: { ...program, staged: { ingress: tier('S', 'P', 'Q') } } },
  ]);
  assert.deepEqual(await settle(), []);
  assert.deepEqual(dataplane.status().policies, { known: 2, broken: 0, refused: [] });
  dataplane.apply([{ type: 'setDelta', id: 'S', added: ['10.0.0.8'], removed: [] }]);
  assert.deepEqual(await settle(), []);
  dataplane.apply([{ ...set, members: ['10.0.0.7', '10.0.0.8'] }, policy('P', rule('S', 80))]);
  assert.deepEqual(
    outline(await settle()).map((line) => line.replace(/ :\S+/, '')),
    ['ipset create add 10.0.0.7 add 10.0.0.8', 'iptables *mangle -A COMMIT'],
  );
  dataplane.apply([policy('P', rule('A', 80)), { ...set, members: ['10.0.0.7', '10.0.0.8'], ...staged }]);
  assert.deepEqual(
    outline(await settle()).map((line) => line.replace(/ :\S+/, '')),
    ['iptables *mangle -A COMMIT', 'ipset destroy'],
  );
  dataplane.apply([
    { type: 'endpoint', id: 'ns/a', program },
    { type: 'policyRemove', id: 'S' },
    { type: 'setRemove', id: 'S' },
  ]);
  assert.deepEqual(await settle(), []);
});

test('pods with the same policies share the chain that calls them, which goes with the last', async () => {
  const { dataplane, settle } = await fake();
  const ids = ['P', 'Q', ...Array.from({ length: groupedMin }, (_, n) => `R${n}`)];
  const program = (...policies: string[]) => ({ ingress: tier(...policies), egress: [] });
  const lines = async (): Promise<string[]> =>
    (await settle()).filter(({ program }) => program === 'iptables').flatMap((write) => write.lines);
  const groups = (all: readonly string[]): string[] => all.flatMap((line) => /^:(poplin-gi-\S+)/.exec(line)?.[1] ?? []);
  dataplane.apply([
    ...ids.map((id) => policy(id, { action: 'allow' })),
    ...['a', 'b'].map((pod) => ({ type: 'endpoint', id: `ns/${pod}`, program: program(...ids) }) as const),
  ]);
  dataplane.setEndpoint({ id: 'ns/a', interfaceName: 'popa', addresses: [] });
  dataplane.setEndpoint({ id: 'ns/b', interfaceName: 'popb', addresses: [] });
  dataplane.setInSync();
  const first = await lines();
  const [group, ...others] = groups(first);
  assert.ok(group !== undefined && others.length === 0);
  const calls = first.filter((line) => line.startsWith(`-A ${group}`) && line.includes(' -j poplin-'));
  assert.equal(calls.length, ids.length);
  assert.equal(first.filter((line) => line.endsWith(`-j ${group}`)).length, 2);

  // One that comes writes one call, however many policies it has, and whichever are staged.
  const staged = { ingress: tier('X', ...ids.toReversed()) };
  dataplane.apply([{ type: 'endpoint', id: 'ns/c', program: { ...program(...ids), staged } }]);
  dataplane.setEndpoint({ id: 'ns/c', interfaceName: 'popc', addresses: [] });
  const third = await lines();
  assert.deepEqual(groups(third), []);
  assert.equal(third.filter((line) => line.startsWith('-A poplin-tw-popc') && line.includes('-j poplin-')).length, 1);

  // Another order is another chain; few policies need none.
  dataplane.apply([{ type: 'endpoint', id: 'ns/a', program: program(...ids.toReversed()) }]);
  const turned = groups(await lines());
  assert.equal(turned.length, 1);
  assert.notEqual(turned[0], group);
  const few = ['a', 'b', 'c'].map(
    (pod) => ({ type: 'endpoint', id: `ns/${pod}`, program: program('P', 'Q') }) as const,
  );
  dataplane.apply(few);
  const last = await lines();
  assert.deepEqual(
    last.filter((line) => line.startsWith('-X poplin-gi-')).sort(),
    [group, turned[0]!].map((chain) => `-X ${chain}`).sort(),
  );
});

test('a policy that cannot be rendered drops, and heals when its set comes', async () => {
  const { dataplane, settle } = await base();
  dataplane.apply([policy('P', rule('A', 80), rule('later', 81))]);
  const closed = (await settle()).flatMap(({ lines }) => lines.filter((line) => line.startsWith('-A')));
  assert.equal(closed.length, 1);
  assert.match(closed[0]!, /cannot be rendered" -j DROP$/);
  const { broken, refused } = dataplane.status().policies;
  assert.equal(broken, 1);
  assert.deepEqual(refused, [{ id: 'P', direction: 'ingress', reason: 'the set "later" is not known' }]);
  dataplane.apply([{ type: 'set', id: 'later', setType: 'ip', members: [] }]);
  await settle();
  assert.equal(dataplane.status().policies.broken, 0);
  // An endpoint that names an unknown policy gets a chain that drops; a bad update holds up no other.
  dataplane.apply([
    { type: 'setDelta', id: 'never made', added: ['10.0.0.1'], removed: [] },
    { type: 'endpoint', id: 'ns/a', program: { ingress: tier('unknown'), egress: [] } },
  ]);
  const lines = (await settle()).flatMap((write) => write.lines);
  assert.ok(lines.some((line) => /^-A poplin-pi-\S+ .*unknown cannot be rendered" -j DROP$/.test(line)));
});

test('a policy that goes while its last endpoint is going is not rewritten, and goes with that', async () => {
  const { dataplane, settle } = await base();
  dataplane.removeEndpoint('ns/a', 'pop1');
  dataplane.apply([
    { type: 'endpointRemove', id: 'ns/a' },
    { type: 'policyRemove', id: 'P' },
    { type: 'policyRemove', id: 'Q' },
    { type: 'setRemove', id: 'A' },
    { type: 'setRemove', id: 'B' },
  ]);
  const text = (await settle()).flatMap(({ lines }) => lines).join('\n');
  assert.equal(dataplane.status().policies.broken, 0);
  assert.doesNotMatch(text, /cannot be rendered/);
  assert.match(text, /^-X poplin-pi-/m);
});

test('an interface that is not ours is refused', async () => {
  const { dataplane } = await fake();
  for (const interfaceName of ['eth0', 'pop', 'popmuchtoolongname', 'pop/..', 'pop -j ACCEPT']) {
    assert.throws(() => dataplane.setEndpoint({ id: 'ns/a', interfaceName, addresses: [] }), RangeError, interfaceName);
  }
});

test('rules that others took away are put back at the next reading, and counted', async () => {
  // The fake's kernel forgets all: each reading finds nothing.
  const { dataplane, settle } = await base();
  await settle();
  assert.equal(dataplane.status().repairs, 0);
  dataplane.resync();
  assert.ok((await settle()).length > 0);
  assert.equal(dataplane.status().repairs, 1);
  dataplane.resync();
  dataplane.apply([policy('P', rule('A', 81))]);
  await settle();
  assert.equal(dataplane.status().repairs, 1, 'with a change of our own it is not known who is to blame');
});

test('flows are judged once the rules are in force, those of every pod once a refresh', async () => {
  const looks: string[] = [];
  const world = await fake({
    async *scan(addresses) {
      looks.push([...addresses].sort().join(' '));
      yield [];
    },
    mark: () => 0,
  });
  const { dataplane, settle, clock, state } = world;
  const turns = async (ms: number): Promise<void> => {
    for (let i = 0; i < ms; i++) {
      clock.advance(1);
      await Promise.resolve();
    }
  };
  const addresses = ['10.0.0.9', 'fd00::9'] as IpAddress[];
  dataplane.setEndpoint({ id: 'ns/a', interfaceName: 'pop1', addresses });
  dataplane.recheckFlows('pods');
  await turns(500);
  assert.deepEqual(looks, [], 'not in sync');
  dataplane.setInSync();
  await settle();
  assert.deepEqual(looks.splice(0), ['10.0.0.9 fd00::9']);
  state.broken = true;
  dataplane.apply([
    policy('P', rule('A', 80)),
    { type: 'endpoint', id: 'ns/a', program: { ingress: tier('P'), egress: [] } },
  ]);
  dataplane.recheckFlows(['10.0.0.2' as IpAddress]);
  await turns(500);
  assert.equal(dataplane.status().failures > 0, true);
  assert.deepEqual(looks, [], 'the rules are not in force');
  state.broken = false;
  await turns(10_000);
  assert.equal(looks.length, 1, 'once they are');
  assert.match(looks.splice(0)[0]!, /10\.0\.0\.2/);
  await turns(61_000);
  assert.deepEqual(looks, ['10.0.0.9 fd00::9']);
});
