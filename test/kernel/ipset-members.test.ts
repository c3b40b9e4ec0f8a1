/** Sets and members written by netlink, as the `ipset` program sees them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Ipsets, type SetCreation, type SetMemberChange } from '#felix';
import { silentLogger, systemClock } from '#kit';
import { inNetns, openSetMembers } from '#sys';
import { needs } from '../support/needs.ts';
import { PacketWorld } from './packet-world.ts';

suite('ipset members by netlink', needs({ root: true, commands: ['ipset', 'nsenter'] }), () => {
  const open = (world: PacketWorld) => inNetns(world.node.netns, openSetMembers);
  const saved = async (world: PacketWorld): Promise<string[]> =>
    (await world.sh('ipset', 'save'))
      .split('\n')
      .filter((line) => line.startsWith('add'))
      .sort();

  test('every type of both families reads back as it was written, and goes', async () => {
    await using world = await PacketWorld.make([]);
    const sets: [string, SetMemberChange['type'], 4 | 6, string[]][] = [
      ['a4', 'ip', 4, ['10.0.0.1', '10.0.0.2']],
      ['a6', 'ip', 6, ['2001:db8::1', '2001:db8::2']],
      ['n4', 'net', 4, ['10.0.0.0/8', '0.0.0.0/1', '192.0.2.1']],
      ['n6', 'net', 6, ['2001:db8::/32', '8000::/1', '2001:db8:1::1']],
      ['p4', 'ip,port', 4, ['10.0.0.1,tcp:80', '10.0.0.1,udp:65535', '10.0.0.1,sctp:9003']],
      ['p6', 'ip,port', 6, ['2001:db8::1,tcp:80', '2001:db8::1,udp:53']],
      ['i4', 'net,iface', 4, ['10.0.0.1,pop0123456789a', '10.0.0.2,pop0123456789b']],
      ['i6', 'net,iface', 6, ['2001:db8::1,pop0123456789a']],
    ];
    const members = open(world);
    const creations = (room: number): SetCreation[] =>
      sets.map(([set, type, family]) => ({ op: 'create', set, type, family, room }));
    assert.equal(members.change(creations(5_000)), undefined);
    for (const [name, type, family] of sets) {
      const words = [`hash:${type}`, 'family', family === 4 ? 'inet' : 'inet6', 'maxelem', '5000'];
      assert.match(await world.sh('ipset', 'list', name), /^Header: family inet6? hashsize \d+ maxelem 5000$/m);
      // The same to the program, too.
      await world.sh('ipset', 'create', name, ...words, '-exist');
    }
    assert.equal(members.change(creations(5_000)), undefined, 'what is there may be made again');
    assert.equal(members.change(creations(6_000)), 'create a4 hash:ip: EEXIST', 'but not as another');
    const changes = (op: 'add' | 'del'): SetMemberChange[] =>
      sets.flatMap(([set, type, family, list]) => list.map((member) => ({ op, set, type, family, member })));
    assert.equal(members.change(changes('add')), undefined);
    const all = sets.flatMap(([set, , , list]) => list.map((member) => `add ${set} ${member}`)).sort();
    assert.deepEqual(await saved(world), all);
    assert.equal(members.change(changes('add')), undefined, 'what is there may be added again');
    assert.deepEqual(await saved(world), all);
    assert.equal(members.change(changes('del')), undefined);
    assert.deepEqual(await saved(world), []);
    assert.equal(members.change(changes('del')), undefined, 'what is gone may be deleted again');
    members.close();
  });

  test('a failure is told in words', async () => {
    await using world = await PacketWorld.make([]);
    const members = open(world);
    const change: SetMemberChange = { op: 'add', set: 'absent', type: 'ip', family: 4, member: '10.0.0.1' };
    assert.match(members.change([change]) ?? '', /^add absent 10\.0\.0\.1: ENOENT/);
    await world.sh('ipset', 'create', 'small', 'hash:ip', 'maxelem', '1', 'hashsize', '64');
    const many = [1, 2].map((i) => ({ ...change, set: 'small', member: `10.0.0.${i}` }));
    assert.match(members.change(many) ?? '', /^add small 10\.0\.0\.2: set is full/);
    members.close();
  });

  test('the driver writes small changes and new sets by it, and what is much by the program', async () => {
    await using world = await PacketWorld.make([]);
    const members = open(world);
    let direct = 0;
    let processes = 0;
    const sets = new Ipsets(
      {
        run: (argv, options) => {
          processes++;
          return world.run(argv, options);
        },
        members: {
          change(changes) {
            direct += changes.length;
            return members.change(changes);
          },
        },
        log: silentLogger,
        clock: systemClock(),
      },
      { names: { chainPrefix: 'poplin-', setPrefix: 'poplin', interfacePrefix: 'pop' }, families: [4, 6] },
    );
    const apply = async (): Promise<void> => {
      await sets.grow(new Set());
      await sets.shrink();
    };
    await sets.read();
    sets.desire('s', 'ip', ['10.0.0.1', '2001:db8::1']);
    await apply();
    assert.deepEqual([processes, direct], [1, 4]);
    sets.delta('s', ['10.0.0.2', '2001:db8::2'], ['10.0.0.1']);
    await apply();
    assert.deepEqual([processes, direct], [1, 7]);
    const names = [sets.nameOf('s', 4), sets.nameOf('s', 6)];
    assert.deepEqual(
      await saved(world),
      [`add ${names[0]} 10.0.0.2`, `add ${names[1]} 2001:db8::1`, `add ${names[1]} 2001:db8::2`].sort(),
    );
    sets.desire(
      'many',
      'ip',
      Array.from({ length: 250 }, (_, i) => `10.1.0.${i}`),
    );
    await apply();
    assert.deepEqual([processes, direct], [2, 7]);
    await world.sh('ipset', 'destroy', names[0]!);
    sets.delta('s', ['10.0.0.3'], []);
    await assert.rejects(apply(), /ENOENT/);
    assert.ok(sets.stale, 'what is there is not known any more');
    await sets.read();
    await apply();
    assert.deepEqual(
      (await saved(world)).filter((line) => line.includes(names[0]!)),
      [`add ${names[0]} 10.0.0.2`, `add ${names[0]} 10.0.0.3`],
    );
    members.close();
  });

  test('what is learnt while a set gets more room is not lost, nor the time of those that were there', async () => {
    await using world = await PacketWorld.make([]);
    const members = open(world);
    const life = { timeoutSec: 600, comment: 'www.example.com' };
    const driver = (room: number): Ipsets =>
      new Ipsets(
        { run: world.run, members, log: silentLogger, clock: systemClock(), lifeOf: () => life },
        {
          names: { chainPrefix: 'poplin-', setPrefix: 'poplin', interfacePrefix: 'pop' },
          families: [4],
          room,
        },
      );
    const apply = async (sets: Ipsets): Promise<void> => {
      await sets.grow(new Set());
      await sets.shrink();
    };
    const learnt = (address: string) => [{ address, ...life }];
    const small = driver(1);
    await small.read();
    small.desire('s', 'ip', ['10.0.0.1'], { passing: true });
    await apply(small);
    const name = small.nameOf('s', 4)!;
    const there = async (): Promise<string[]> =>
      (await saved(world)).map((line) => line.replace(/timeout (5[5-9]\d|600)\b/, 'in time'));
    const line = (address: string): string => `add ${name} ${address} in time comment "www.example.com"`;
    small.learn('s', learnt('10.0.0.2'));
    assert.deepEqual(await there(), [line('10.0.0.1')], 'it is full');
    small.delta('s', ['10.0.0.2', '10.0.0.3'], []);
    await apply(small);
    const three = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
    assert.deepEqual(await there(), three.map(line));

    const large = driver(8);
    await large.read();
    large.desire('s', 'ip', three, { passing: true });
    world.before = async () => large.learn('s', learnt('10.0.0.4'));
    await apply(large);
    world.before = undefined;
    large.delta('s', ['10.0.0.4'], []);
    await apply(large);
    assert.deepEqual(await there(), [...three, '10.0.0.4'].map(line));
    large.learn('s', learnt('10.0.0.5'));
    assert.equal((await there()).at(-1), line('10.0.0.5'));
    members.close();
  });
});
