/** Tables of nf_tables as the program `nft` makes them, read and taken away by netlink. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { needs } from '../support/needs.ts';
import { PacketWorld } from './packet-world.ts';

suite('nft tables by netlink', needs({ root: true, commands: ['nft', 'nsenter'] }), () => {
  const list = async (world: PacketWorld): Promise<string> => (await world.sh('nft', 'list', 'ruleset')).trim();

  test('what is in a table is counted, and an empty one goes', async () => {
    await using world = await PacketWorld.make([]);
    const { nftTables: tables } = world;
    for (const [family, name] of [
      [4, 'ip'],
      [6, 'ip6'],
    ] as const) {
      assert.equal(tables.use(family, 'mine'), undefined);
      await world.sh('nft', 'add', 'table', name, 'mine');
      assert.equal(tables.use(family, 'mine'), 0);
      await world.sh('nft', 'add', 'set', name, 'mine', 's', '{ type mark; }');
      assert.equal(tables.use(family, 'mine'), 1);
      await world.sh('nft', 'add', 'chain', name, 'mine', 'c');
      assert.equal(tables.use(family, 'mine'), 2);
      tables.deleteTable(family, 'mine');
      assert.equal(tables.use(family, 'mine'), undefined);
    }
    assert.equal(await list(world), '');
    assert.throws(() => tables.deleteTable(4, 'mine'), { code: 'ENOENT' });
  });

  test('rules are known by their comments, and go together or not at all', async () => {
    await using world = await PacketWorld.make([]);
    const { nftTables: tables } = world;
    await world.sh('nft', 'add', 'table', 'ip', 'mine');
    for (const chain of ['a', 'b']) {
      await world.sh('nft', 'add', 'chain', 'ip', 'mine', chain);
      for (const comment of ['one', 'two']) {
        await world.sh('nft', 'add', 'rule', 'ip', 'mine', chain, 'accept', 'comment', `"${comment}"`);
      }
    }
    await world.sh('nft', 'add', 'rule', 'ip', 'mine', 'b', 'drop');
    await world.sh('nft', 'add', 'table', 'ip', 'other');
    await world.sh('nft', 'add', 'chain', 'ip', 'other', 'a');
    await world.sh('nft', 'add', 'rule', 'ip', 'other', 'a', 'accept', 'comment', '"one"');
    const before = await list(world);
    const rules = tables.rules(4, 'mine');
    assert.deepEqual(
      rules.map(({ chain, comment }) => [chain, comment]),
      [
        ['a', 'one'],
        ['a', 'two'],
        ['b', 'one'],
        ['b', 'two'],
        ['b', ''],
      ],
    );
    const ones = rules.filter(({ comment }) => comment === 'one');
    assert.throws(() => tables.deleteRules(4, 'mine', [...ones, { chain: 'a', handle: 9_999n, comment: '' }]), {
      code: 'ENOENT',
    });
    assert.equal(await list(world), before);
    tables.deleteRules(4, 'mine', ones);
    const expected = before.replace(/(table ip mine \{)([\s\S]*?)(\n\}\n)/, (_, head, body, tail) => {
      return head + body.replaceAll(/\n.*comment "one"/g, '') + tail;
    });
    assert.equal(await list(world), expected);
    assert.deepEqual(tables.rules(6, 'mine'), []);
  });
});
