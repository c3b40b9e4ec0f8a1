import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import { rehearse, rehearsedChunks } from './rehearsal.ts';
import { TcpTransport } from './tcp-transport.ts';

/** It compiles in other threads, so that now and then something comes late; when each speaker had its own closures there were 19. */
const deoptimisationsMax = 4;

const transport = (): TcpTransport => new TcpTransport(silentLogger, () => assert.fail('nobody connects'));

test('all that peers say in a rehearsal go through, and nothing of it stays', async () => {
  const own = transport();
  const { promise, resolve } = Promise.withResolvers<number>();
  rehearse(own, { random: Math.random, withoutFeed: true }, resolve);
  assert.equal(own.openConnections, 6);
  assert.equal(
    await promise,
    rehearsedChunks.reduce((sum, chunks) => sum + chunks, 0),
  );
  assert.equal(own.openConnections, 0);
});

test('a rehearsal ends when it is told to', async () => {
  const own = transport();
  const { promise, resolve } = Promise.withResolvers<number>();
  const end = rehearse(own, { random: Math.random, withoutFeed: true }, resolve);
  end();
  end();
  assert.equal(await promise, 0);
  assert.equal(own.openConnections, 0);
});

test('after it the engine takes back next to nothing of what it compiled, in the first thousand changes of real peers', () => {
  const script = path.join(import.meta.dirname, 'test-rehearsed-changes.ts');
  const said = execFileSync(process.execPath, ['--trace-deopt', script], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const [before, during] = said.split('changes begin\n');
  assert.match(during ?? '', /changes end\n$/);
  const takenBack = (text = ''): string[] => text.match(/^.*(?:bailout|marking dependent).*$/gm) ?? [];
  // The rehearsal itself has its dozens: that is what it is for.
  assert.ok(takenBack(before).length > 10);
  assert.ok(takenBack(during).length <= deoptimisationsMax, takenBack(during).join('\n'));
  // Peers that rest are more than a rehearsal has.
  assert.doesNotMatch(takenBack(during).join('\n'), /#serve|#wait/);
});
