/** Commits of iptables-nft as the kernel tells of them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { PacketWorld } from './packet-world.ts';

/** Input that comes to its end when `end` settles. */
async function* openUntil(end: Promise<void>, text: string): AsyncGenerator<string> {
  yield text;
  await end;
}

suite('commits of nf_tables', needs({ root: true, commands: ['xtables-nft-multi', 'nsenter'] }), () => {
  test('a program’s commit is told by its number and is in force while the program goes on, until its input ends', async () => {
    await using world = await PacketWorld.make([]);
    const ports: number[] = [];
    const watching = world.nftCommits.watch((port) => ports.push(port));
    const kept = Promise.withResolvers<void>();
    let pid: number | undefined;
    let code: number | undefined;
    const argv = ['xtables-nft-multi', 'iptables-restore', '--noflush'];
    const end = world
      .run(argv, {
        stdin: openUntil(kept.promise, '*mangle\n:told - [0:0]\n-A told -j ACCEPT\nCOMMIT\n'),
        onStart: (started) => {
          pid = started;
        },
      })
      .then((result) => {
        code = result.code;
      });
    await until(async () => ports.length > 0, { what: 'the commit to be told' });
    assert.deepEqual(ports, [pid]);
    assert.match(await world.sh('xtables-nft-multi', 'iptables', '-t', 'mangle', '-S', 'told'), /-A told -j ACCEPT/);
    assert.equal(code, undefined);
    kept.resolve();
    await end;
    assert.equal(code, 0);
    watching.close();
    await world.sh('xtables-nft-multi', 'iptables', '-t', 'mangle', '-F', 'told');
    assert.deepEqual(ports, [pid], 'nobody watches');
  });

  test('a program that fails does not wait for the end of its input', async () => {
    await using world = await PacketWorld.make([]);
    const stdin = openUntil(new Promise(() => undefined), '*mangle\n-A absent -j ACCEPT\nCOMMIT\n');
    const { code } = await world.run(['xtables-nft-multi', 'iptables-restore', '--noflush'], { stdin });
    assert.notEqual(code, 0);
  });
});
