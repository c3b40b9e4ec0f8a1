/** Ownership of the tables: adoption, repair, deltas, back ends and cleaning up, read from the kernel itself. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { suite, test } from 'node:test';
import { type Backend, cleanupPolicyDataplane, IptablesError, type PolicyDataplane } from '#felix';
import { type Cidr, silentLogger } from '#kit';
import type { PolicyUpdate } from '#model';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { PacketWorld } from './packet-world.ts';
import { endpoint, policy, setOf, tier } from './programs.ts';

const machine = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'nft', 'ip', 'nsenter'],
});

function model(world: PacketWorld): PolicyUpdate[] {
  const { addresses } = world.pod('b');
  return [
    setOf('friends', 'ip', addresses[4], addresses[6]),
    setOf('everywhere', 'net', '0.0.0.0/0', '::/0', '10.0.0.0/8'),
    setOf('web', 'ip,port', `${addresses[4]},tcp:80`, `${addresses[6]},sctp:80`),
    policy('P', [
      {
        action: 'allow',
        protocol: 6,
        destinationPorts: [{ first: 80, last: 90 }],
        source: { type: 'set', set: 'friends' },
      },
      {
        action: 'allow',
        source: { type: 'cidr', cidr: '10.1.0.0/16' as Cidr, except: ['10.1.0.0/24' as Cidr] },
        protocol: 132,
      },
    ]),
    policy('Q', []),
    endpoint('a', { ingress: tier('P', 'Q') }),
    endpoint('b'),
  ];
}

async function start(
  world: PacketWorld,
  backend: Backend | 'auto',
  onApply: () => void = () => undefined,
): Promise<PolicyDataplane> {
  const dataplane = world.dataplane({ backend }, silentLogger, undefined, { onApply });
  await dataplane.start();
  dataplane.setPools([{ cidr: '10.1.0.0/16' as Cidr, natOutgoing: true }]);
  for (const name of world.pods.keys()) dataplane.setEndpoint(world.endpoint(name));
  dataplane.apply(model(world));
  dataplane.setInSync();
  await dataplane.whenApplied();
  return dataplane;
}

/** All tables of both back ends, the sets and nft's own view, without counters, handles and dates. */
async function dump(world: PacketWorld): Promise<string> {
  const parts: string[] = [];
  for (const backend of ['nft', 'legacy']) {
    for (const save of ['iptables-save', 'ip6tables-save'])
      parts.push(await world.sh(`xtables-${backend}-multi`, save));
  }
  parts.push(await world.sh('ipset', 'save'), await world.sh('nft', 'list', 'ruleset'));
  return parts
    .join('\n')
    .replace(/^#.*$/gm, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/packets \d+ bytes \d+/g, '')
    .replace(/ initval \S+/g, '');
}

/** Everything that `nft monitor` says while it lives. */
async function monitor(world: PacketWorld): Promise<{ lines: () => string; stop: () => Promise<void> }> {
  const child: ChildProcess = spawn('nsenter', [
    `--net=/proc/${process.pid}/fd/${world.node.netns.number}`,
    'nft',
    'monitor',
  ]);
  let text = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    text += chunk;
  });
  // It listens once it reports a change of our own making.
  await until(
    async () => {
      await world.sh('nft', 'add', 'table', 'ip', 'probe');
      await world.sh('nft', 'delete', 'table', 'ip', 'probe');
      return text.includes('probe');
    },
    { what: 'nft monitor to listen' },
  );
  const settle = (): Promise<unknown> =>
    until(
      async () => {
        await world.sh('nft', 'add', 'table', 'ip', 'done');
        await world.sh('nft', 'delete', 'table', 'ip', 'done');
        return text.includes('done');
      },
      { what: 'nft monitor to catch up' },
    );
  return {
    lines: () =>
      text
        .split('\n')
        .filter((line) => line !== '' && !/probe|done|^# new generation/.test(line))
        .join('\n'),
    async stop() {
      await settle();
      child.kill();
    },
  };
}

suite('a table with rules that iptables cannot show', machine, () => {
  const odd = [
    'rule',
    'ip',
    'mangle',
    'FORWARD',
    'ip',
    'saddr',
    '{ 192.0.2.77, 192.0.2.78 }',
    'ct',
    'mark',
    'set',
    '5',
  ];

  test('collects no jumps, and a start that cannot read it says so', async () => {
    await using world = await PacketWorld.make(['a', 'b']);
    const dataplane = await start(world, 'nft');
    await world.sh('nft', 'add', ...odd);
    dataplane.resync();
    await dataplane.whenApplied();
    // Changes still reach the kernel.
    dataplane.apply([endpoint('a')]);
    await dataplane.whenApplied();
    await world.expectReach('b', 'a', 91, 4);
    const jumps = (await world.sh('nft', 'list', 'chain', 'ip', 'mangle', 'FORWARD')).match(/jump poplin-forward/g);
    assert.equal(jumps?.length, 1);
    await dataplane.stop();
    const blind = world.dataplane({ backend: 'nft' });
    await assert.rejects(blind.start(), (error) => error instanceof IptablesError && error.code === 'TABLE_UNREADABLE');
  });
});

for (const backend of ['nft', 'legacy'] as const) {
  suite(`tables of iptables-${backend}`, machine, () => {
    test('a restart with the same model writes nothing', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      await (await start(world, backend)).stop();
      const before = await dump(world);
      const writes = world.writes();
      const watch = await monitor(world);
      const again = await start(world, backend);
      again.resync();
      await again.whenApplied();
      await until(() => !again.status().failures && again.status().applied, { what: 'the second run to settle' });
      await watch.stop();
      assert.equal(world.writes(), writes);
      assert.equal(watch.lines(), '');
      assert.equal(await dump(world), before);
      assert.ok(again.endpointInForce('ns/a'));
    });

    test('nothing is written before the model is in sync, and what an earlier run left stays', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const empty = await dump(world);
      const early = world.dataplane({ backend });
      await early.start();
      early.apply(model(world));
      early.setEndpoint(world.endpoint('a'));
      assert.equal(await dump(world), empty);
      assert.equal(early.endpointInForce('ns/a'), false);
      assert.equal(early.status().applied, false);
      await early.stop();
      await (await start(world, backend)).stop();
      // A model in which things went away while nobody ran: they are swept.
      const later = world.dataplane({ backend });
      await later.start();
      later.setInSync();
      await later.whenApplied();
      await until(async () => !/friends|poplin-pi-|poplin-tw-|poplin-nat/.test(await dump(world)), {
        what: 'old chains to go',
      });
      // Of each family the pods' own addresses, the nodes' and those held: what the base chains name.
      await until(async () => (await world.sh('ipset', 'list', '-n')).trim().split('\n').length === 6, {
        what: 'old sets to go',
      });
    });

    test('what others break is repaired, what others own is left', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const [v4, v6] = backend === 'nft' ? ['iptables-nft', 'ip6tables-nft'] : ['iptables-legacy', 'ip6tables-legacy'];
      await world.sh(v4!, '-t', 'mangle', '-A', 'FORWARD', '-d', '203.0.113.9', '-j', 'DROP');
      await world.sh(v4!, '-N', 'mine');
      await world.sh('ipset', 'create', 'mine', 'hash:ip');
      let runs = 0;
      const dataplane = await start(world, backend, () => runs++);
      const whole = await dump(world);
      // To its end: what is broken while it still reads would be repaired at once.
      const resynced = async (): Promise<void> => {
        const before = runs;
        dataplane.resync();
        await until(() => runs > before, { what: 'a reading back' });
      };
      await resynced();
      assert.equal(dataplane.status().repairs, 0);
      const repaired = async (what: string): Promise<void> => {
        assert.notEqual(await dump(world), whole, `${what} changed something`);
        await resynced();
        // What nothing names goes later.
        await until(async () => (await dump(world)) === whole, { what: `repair after ${what}` });
      };
      await world.sh(v4!, '-t', 'mangle', '-D', 'FORWARD', '1');
      await repaired('the jump was deleted');
      assert.equal(dataplane.status().repairs, 1);
      await world.sh(v4!, '-t', 'mangle', '-I', 'FORWARD', '-j', 'poplin-forward');
      await repaired('the jump was doubled');
      const own = (await world.sh(v4!, '-t', 'mangle', '-S', 'FORWARD'))
        .split('\n')
        .find((line) => line.includes('203.0'))!;
      await world.sh(v4!, '-t', 'mangle', ...own.split(' '));
      await world.sh(v4!, '-t', 'mangle', '-D', ...own.split(' ').slice(1));
      await world.sh(v4!, '-t', 'mangle', '-I', 'FORWARD', '-d', '203.0.113.9', '-j', 'DROP');
      await world.sh(v4!, '-t', 'mangle', '-D', 'FORWARD', '3');
      await repaired('somebody put a rule before the jump');
      await world.sh(v6!, '-t', 'mangle', '-F', 'poplin-forward');
      await repaired('a chain was flushed');
      await world.sh(v4!, '-t', 'mangle', '-A', 'poplin-input', '-j', 'ACCEPT');
      await repaired('a rule was added to a chain of ours');
      const jump = /^-A (poplin-tw-\S+) -m mark --mark 0x0\/\S+ (-j poplin-pi-\S+)$/m;
      const [, chain = '', target = ''] = jump.exec(await world.sh(v4!, '-t', 'mangle', '-S'))!;
      await world.sh(v4!, '-t', 'mangle', '-R', chain, '2', ...target.split(' '));
      await repaired('a rule that carries no comment asks for less');
      await world.sh(v4!, '-t', 'mangle', '-N', 'poplin-stray');
      await repaired('a stray chain with our prefix');
      const set = (await world.sh('ipset', 'list', '-n')).split('\n').find((name) => name.startsWith('poplin4-'))!;
      await world
        .sh(
          'ipset',
          'add',
          set,
          set.length > 0 && /net,iface/.test(await world.sh('ipset', 'list', set)) ? '9.9.9.9,x' : '9.9.9.9',
          '-exist',
        )
        .catch(() => world.sh('ipset', 'add', set, '9.9.9.9,tcp:9'));
      await repaired('a member was added');
      await world.sh('ipset', 'flush');
      await repaired('all sets were flushed');
    });

    test('after iptables -F everywhere the rules come back by themselves', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = world.dataplane({ backend, refreshMs: 100 });
      await dataplane.start();
      for (const name of ['a', 'b']) dataplane.setEndpoint(world.endpoint(name));
      dataplane.apply(model(world));
      dataplane.setInSync();
      await dataplane.whenApplied();
      const whole = await dump(world);
      for (const table of ['mangle', 'filter'])
        await world.sh(`xtables-${backend}-multi`, 'iptables', '-t', table, '-F');
      await until(async () => (await dump(world)) === whole, { what: 'the rules to come back' });
      await world.expectReach('b', 'a', 80, 4);
      await world.expectSilence('b', 'a', 91, 4);
    });

    test('cleaning up leaves what was there before the first start', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const [v4] = backend === 'nft' ? ['iptables-nft'] : ['iptables-legacy'];
      await world.sh(v4!, '-A', 'FORWARD', '-d', '203.0.113.9', '-j', 'DROP');
      await world.sh('ipset', 'create', 'mine', 'hash:ip');
      // A legacy table exists from its first use on; have them all from the start.
      if (backend === 'legacy') {
        for (const save of ['iptables-save', 'ip6tables-save']) {
          for (const table of ['mangle', 'filter', 'nat']) await world.sh('xtables-legacy-multi', save, '-t', table);
        }
      }
      const before = await dump(world);
      const dataplane = await start(world, backend);
      assert.notEqual(await dump(world), before);
      const report = await dataplane.cleanup();
      assert.ok(report.chains > 10 && report.jumps >= 6 && report.sets >= 8, JSON.stringify(report));
      assert.equal(await dump(world), before);
      const second = await cleanupPolicyDataplane({ run: world.run, tables: world.nftTables, log: silentLogger });
      assert.deepEqual({ ...second, left: [] }, { chains: 0, jumps: 0, sets: 0, left: [] });
    });

    test('a node that changes its back end is enforced by the new one alone', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const other = backend === 'nft' ? 'legacy' : 'nft';
      await (await start(world, other)).stop();
      await world.sh(`xtables-${backend}-multi`, 'iptables', '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
      const dataplane = await start(world, 'auto');
      assert.equal(dataplane.status().backend, backend);
      await until(async () => !(await world.sh(`xtables-${other}-multi`, 'iptables-save')).includes('poplin'), {
        what: 'the old rules to go',
      });
      await until(async () => !(await world.sh(`xtables-${other}-multi`, 'ip6tables-save')).includes('poplin'), {
        what: 'the old rules to go',
      });
      await world.expectReach('b', 'a', 80, 4);
      await world.expectSilence('b', 'a', 91, 4);
    });

    test('a chain that grows is the chain that was wanted, wherever the new rules stand', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await start(world, backend);
      const rule = (port: number) => ({
        action: 'allow' as const,
        protocol: 6,
        destinationPorts: [{ first: port, last: port }],
      });
      for (const ports of [[5], [5, 6, 7], [1, 5, 6, 7], [1, 2, 5, 6, 6, 7, 8], [8, 2], []]) {
        dataplane.apply([policy('P', ports.map(rule))]);
        await dataplane.whenApplied();
        const chain = (await world.sh(`xtables-${backend}-multi`, 'iptables', '-t', 'mangle', '-S'))
          .split('\n')
          .filter((line) => /^-A poplin-pi-/.test(line));
        assert.deepEqual(
          chain.map((line) => Number(/--dports (\d+)/.exec(line)?.[1])),
          ports,
        );
        const writes = world.writes();
        dataplane.resync();
        await dataplane.whenApplied();
        assert.equal(world.writes(), writes);
      }
      // What was inserted by position meets a chain that somebody changed: repaired, not shifted.
      dataplane.apply([policy('P', [rule(1), rule(2), rule(3)])]);
      await dataplane.whenApplied();
      const name = /-A (poplin-pi-\S+)/.exec(
        await world.sh(`xtables-${backend}-multi`, 'iptables', '-t', 'mangle', '-S'),
      )![1]!;
      await world.sh(`xtables-${backend}-multi`, 'iptables', '-t', 'mangle', '-F', name);
      dataplane.apply([policy('P', [rule(1), rule(2), rule(3), rule(4)])]);
      await dataplane.whenApplied();
      await world.expectReach('b', 'a', 2, 4);
      await world.expectReach('b', 'a', 4, 4);
      await world.expectSilence('b', 'a', 5, 4);
    });

    test('a pod that loses a policy loses one rule, and is as it should be when another program was there first', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await start(world, backend);
      const has = async (...policies: string[]): Promise<void> => {
        dataplane.apply([endpoint('a', { ingress: tier(...policies) })]);
        await dataplane.whenApplied();
      };
      const iptables = [`xtables-${backend}-multi`, 'iptables', '-t', 'mangle'] as const;
      const rules = async (): Promise<string[]> =>
        (await world.sh(...iptables, '-S')).split('\n').filter((line) => line.startsWith('-A poplin-tw-'));
      dataplane.apply([policy('R', [{ action: 'allow' }])]);
      const without = await rules();
      for (const meddle of [false, true]) {
        await has('P', 'R', 'Q');
        const jump = (await rules()).find((line) => !without.includes(line))!;
        assert.match(jump, / -m mark --mark 0x0\/\S+ -j poplin-pi-\S+$/);
        if (meddle) await world.sh(...iptables, ...jump.replace('-A', '-D').split(' '));
        const before = world.commands.length;
        await has('P', 'Q');
        const written = world.commands
          .slice(before)
          .filter(({ argv }) => argv.some((word) => word.endsWith('restore')));
        // Where it is refused, what is read back is what was wanted.
        assert.equal(written.length, 2);
        for (const { stdin } of written) assert.equal(stdin, `*mangle\n${jump.replace('-A', '-D')}\nCOMMIT\n`);
        assert.deepEqual(await rules(), without);
        assert.equal(dataplane.status().repairs, 0);
        const writes = world.writes();
        dataplane.resync();
        await dataplane.whenApplied();
        assert.equal(world.writes(), writes);
      }
    });

    test('a failing restore is repeated until it succeeds, and waiters wait for that', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await start(world, backend);
      for (const command of ['ipset', `xtables-${backend}-multi`]) {
        world.broken = (argv) => argv[0] === command && argv.some((word) => /restore$/.test(word));
        const port = command === 'ipset' ? 100 : 101;
        dataplane.apply([
          { type: 'setDelta', id: 'friends', added: [`10.1.0.${port}`], removed: [] },
          policy('P', [{ action: 'allow', protocol: 6, destinationPorts: [{ first: port, last: port }] }]),
        ]);
        let applied = false;
        const done = dataplane.whenApplied().then(() => {
          applied = true;
        });
        const before = dataplane.status().failures;
        await until(() => dataplane.status().failures >= before + 2, { what: 'two failures' });
        assert.equal(applied, false);
        assert.match(dataplane.status().lastError ?? '', /failed: broken by the test/);
        world.broken = undefined;
        await done;
        await world.expectReach('b', 'a', port, 4);
        assert.match(await world.sh('ipset', 'save'), new RegExp(`10\\.1\\.0\\.${port}`));
      }
    });
  });
}
