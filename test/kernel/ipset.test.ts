/** The set driver on the kernel's sets. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Ipsets } from '#felix';
import { silentLogger, systemClock } from '#kit';
import { needs } from '../support/needs.ts';
import { PacketWorld } from './packet-world.ts';

suite('ipset', needs({ root: true, commands: ['ipset', 'nsenter'] }), () => {
  const names = { chainPrefix: 'poplin-', setPrefix: 'poplin', interfacePrefix: 'pop' };
  const make = (world: PacketWorld) =>
    new Ipsets({ run: world.run, log: silentLogger, clock: systemClock() }, { names, families: [4, 6] });
  const apply = async (sets: Ipsets): Promise<void> => {
    await sets.grow(new Set());
    await sets.shrink();
    await sets.sweep();
  };
  const members = async (world: PacketWorld, name: string): Promise<string[]> =>
    (await world.sh('ipset', 'save', name))
      .split('\n')
      .filter((line) => line.startsWith('add'))
      .map((line) => line.split(' ')[2]!)
      .sort();

  test('mixed members are split by family, a /0 is two halves, bad members are left out', async () => {
    await using world = await PacketWorld.make([]);
    const sets = make(world);
    await sets.read();
    sets.desire('n', 'net', ['0.0.0.0/0', '10.0.0.0/8', '2001:db8::/32', 'nonsense', '10.0.0.1/32']);
    sets.desire('p', 'ip,port', ['10.0.0.1,tcp:80', '2001:db8::1,sctp:9', '10.0.0.1,tcp:70000', '10.0.0.1']);
    await apply(sets);
    assert.deepEqual(await members(world, sets.nameOf('n', 4)!), [
      '0.0.0.0/1',
      '10.0.0.0/8',
      '10.0.0.1',
      '128.0.0.0/1',
    ]);
    assert.deepEqual(await members(world, sets.nameOf('n', 6)!), ['2001:db8::/32']);
    assert.deepEqual(await members(world, sets.nameOf('p', 4)!), ['10.0.0.1,tcp:80']);
    assert.deepEqual(await members(world, sets.nameOf('p', 6)!), ['2001:db8::1,sctp:9']);
    sets.delta('n', ['0.0.0.0/1'], ['0.0.0.0/0']);
    await apply(sets);
    assert.deepEqual(await members(world, sets.nameOf('n', 4)!), ['0.0.0.0/1', '10.0.0.0/8', '10.0.0.1']);
  });

  test('what an earlier run left is adopted: only the difference is sent', async () => {
    await using world = await PacketWorld.make([]);
    const first = make(world);
    await first.read();
    const mapped = '::ffff:102:304';
    first.desire('s', 'ip', ['10.0.0.1', '10.0.0.2', mapped]);
    first.desire('t', 'net', ['0.0.0.0/0', '::/0', '2001:db8::1/128']);
    await apply(first);
    const second = make(world);
    second.desire('s', 'ip', ['10.0.0.1', '10.0.0.2', mapped]);
    second.desire('t', 'net', ['0.0.0.0/0', '::/0', '2001:db8::1/128']);
    await second.read();
    await apply(second);
    assert.deepEqual(second.counters, { restoreCalls: 0, restoreLines: 0, saveCalls: 1 });
    second.delta('s', ['10.0.0.3'], ['10.0.0.1']);
    await apply(second);
    assert.equal(second.counters.restoreLines, 2);
    second.undesire('s');
    await apply(second);
    assert.equal((await world.sh('ipset', 'list', '-n')).trim().split('\n').length, 2);
  });

  test('a set with too little room is swapped while rules name it, one of another type is made anew', async () => {
    await using world = await PacketWorld.make([]);
    const sets = make(world);
    sets.desire('small', 'ip', ['10.0.0.1', '10.0.0.2']);
    sets.desire('other', 'ip', ['10.0.0.1']);
    const [small, other] = [sets.nameOf('small', 4)!, sets.nameOf('other', 4)!];
    await world.sh('ipset', 'create', small, 'hash:ip', 'maxelem', '2');
    await world.sh('ipset', 'add', small, '10.0.0.9');
    await world.sh('ipset', 'create', other, 'hash:net');
    await world.sh('iptables', '-A', 'INPUT', '-m', 'set', '--match-set', small, 'src', '-j', 'DROP');
    await sets.read();
    await apply(sets);
    assert.deepEqual(await members(world, small), ['10.0.0.1', '10.0.0.2']);
    assert.match(await world.sh('ipset', 'list', '-t', small), /maxelem 1048576/);
    assert.match(await world.sh('ipset', 'list', '-t', other), /hash:ip\n/);
    const again = make(world);
    await again.read();
    again.desire('other', 'net', []);
    await apply(again).catch(() => undefined);
    // `small` is still named by a rule: the kernel keeps it, and the driver knows that it does not know.
    assert.equal(again.stale, true);
  });

  test('a set that would overflow gets more room before it is used, whichever way it changes', async () => {
    await using world = await PacketWorld.make([]);
    const sets = new Ipsets(
      { run: world.run, log: silentLogger, clock: systemClock() },
      { names, families: [4, 6], room: 4 },
    );
    const address = (i: number): string => `10.0.0.${i}`;
    const numbers = (first: number, last: number): string[] =>
      Array.from({ length: last - first + 1 }, (_, i) => address(first + i)).sort();
    await sets.read();
    sets.desire('s', 'ip', numbers(1, 4));
    await apply(sets);
    const name = sets.nameOf('s', 4)!;
    const room = async (): Promise<string | undefined> =>
      /maxelem (\d+)/.exec(await world.sh('ipset', 'list', '-t', name))?.[1];
    await world.sh('iptables', '-A', 'INPUT', '-m', 'set', '--match-set', name, 'src', '-j', 'DROP');
    assert.equal(await room(), '4');
    // Left by a run that ended in the middle, of another size.
    await world.sh('ipset', 'create', `${name}.t`, 'hash:ip', 'maxelem', '3');
    await sets.read();

    // As many as before, but those that come are there before those that go are gone.
    sets.delta('s', numbers(5, 8), numbers(1, 4));
    await sets.grow(new Set());
    assert.deepEqual(await members(world, name), numbers(1, 8));
    assert.equal(await room(), '8');
    await sets.shrink();
    await sets.sweep();
    assert.deepEqual(await members(world, name), numbers(5, 8));

    // Where the order is turned round, nothing is there early.
    sets.delta('s', numbers(9, 20), numbers(5, 6));
    await sets.grow(new Set(['s']));
    assert.deepEqual(await members(world, name), numbers(7, 8));
    assert.equal(await room(), '16');
    await sets.shrink();
    await sets.sweep();
    assert.deepEqual(await members(world, name), [...numbers(7, 20)].sort());

    // What has room enough keeps it, an agent that starts again too.
    const again = new Ipsets(
      { run: world.run, log: silentLogger, clock: systemClock() },
      { names, families: [4, 6], room: 4 },
    );
    again.desire('s', 'ip', numbers(7, 20));
    await again.read();
    await apply(again);
    assert.equal(again.counters.restoreCalls, 0);
    assert.equal((await world.sh('ipset', 'list', '-n')).trim().split('\n').length, 2);
  });
});
