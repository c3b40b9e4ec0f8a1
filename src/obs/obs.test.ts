import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, Secret } from '#kit';
import { createHealthRegistry } from './health.ts';
import { createLogger, type LogLevel } from './logger.ts';
import { createMetrics } from './metrics.ts';

function capture(level: LogLevel = 'info') {
  const lines: string[] = [];
  const log = createLogger({ level, base: { node: 'n1' }, destination: { write: (line) => void lines.push(line) } });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

test('a line is JSON with level by name, time, base, component, fields and message', () => {
  const { log, last } = capture();
  log.child({ component: 'datastore' }).warn({ file: 'a.yaml', big: 12n }, 'a fault');
  const { time, ...rest } = last();
  assert.match(String(time), /^\d{4}-\d\d-\d\dT/);
  assert.deepEqual(rest, {
    level: 'warn',
    node: 'n1',
    component: 'datastore',
    file: 'a.yaml',
    big: '12',
    msg: 'a fault',
  });
});

test('the level holds', () => {
  const { log, lines } = capture('warn');
  log.info({}, 'no');
  log.debug({}, 'no');
  log.error({}, 'yes');
  assert.equal(lines.length, 1);
});

test('the level changes for children that are there and for those to come', () => {
  const { log, lines } = capture('warn');
  const child = log.child({ component: 'bgp' });
  child.info({}, 'no');
  log.setLevel('info');
  child.info({}, 'yes');
  log.child({ component: 'cni' }).child({ call: 1 }).info({}, 'yes');
  log.setLevel('error');
  child.warn({}, 'no');
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { msg: string }).msg),
    ['yes', 'yes'],
  );
});

test('no secret reaches a line: by type at any depth, by field name where it is plain text', () => {
  const { log, lines } = capture();
  log.info({ key: new Secret('hunter2') }, 'm');
  log.info({ deep: { a: { b: [new Secret('hunter2')] } } }, 'm');
  log.info({ password: 'hunter2', peer: { password: 'hunter2' }, config: { peer: { password: 'hunter2' } } }, 'm');
  assert.equal(lines.length, 3);
  assert.doesNotMatch(lines.join(''), /hunter2/);
  assert.match(lines.join(''), /redacted/);
});

test('errors keep message, code and stack under any name', () => {
  const { log, last } = capture();
  log.error({ error: Object.assign(new Error('boom'), { code: 'EIO' }) }, 'm');
  const error = last()['error'] as Record<string, unknown>;
  assert.equal(error['message'], 'boom');
  assert.equal(error['code'], 'EIO');
  assert.match(String(error['stack']), /obs\.test/);
});

test('metrics come out under the prefix, and two registries do not meet', async () => {
  const metrics = createMetrics();
  const other = createMetrics();
  const updates = metrics.counter({ name: 'updates_total', help: 'Updates.', labels: ['kind'] });
  other.counter({ name: 'updates_total', help: 'Updates.' });
  updates.inc({ kind: 'Pod' }, 2);
  updates.inc({ kind: 'Pod' });
  const peers = metrics.gauge({ name: 'peers', help: 'Peers.', labels: ['peer'] });
  peers.set({ peer: 'a' }, 1);
  peers.set({ peer: 'b' }, 1);
  peers.remove({ peer: 'a' });
  let size = 7;
  metrics.observedGauge({ name: 'size', help: 'Size.' }, () => size);
  size = 8;
  metrics.histogram({ name: 'apply_seconds', help: 'Apply.', buckets: [0.1, 1] }).observe({}, 0.5);
  const { body, contentType } = await metrics.scrape();
  assert.match(contentType, /text\/plain/);
  assert.match(body, /^poplin_updates_total\{kind="Pod"\} 3$/m);
  assert.doesNotMatch(body, /peer="a"/);
  assert.match(body, /^poplin_size 8$/m);
  assert.match(body, /^poplin_apply_seconds_bucket\{le="1"\} 1$/m);
  assert.doesNotMatch((await other.scrape()).body, /kind=/);
});

test('observed series are asked for at each scrape, and go when they are not told any more', async () => {
  const metrics = createMetrics();
  const peers = new Map([
    ['a', 1],
    ['b', 2],
  ]);
  metrics.observed({ name: 'prefixes', help: 'P.', labels: ['peer'], type: 'gauge' }, async () =>
    [...peers].map(([peer, count]) => [{ peer }, count] as const),
  );
  metrics.observed({ name: 'runs_total', help: 'R.', labels: ['kind'], type: 'counter' }, () => [[{ kind: 'x' }, 7]]);
  assert.match((await metrics.scrape()).body, /^poplin_prefixes\{peer="b"\} 2$/m);
  peers.delete('b');
  const { body } = await metrics.scrape();
  assert.doesNotMatch(body, /peer="b"/);
  assert.match(body, /^# TYPE poplin_runs_total counter\npoplin_runs_total\{kind="x"\} 7$/m);
});

test('ready when every component said so; alive while heartbeats come in time', () => {
  const clock = new FakeClock();
  const health = createHealthRegistry(clock);
  assert.equal(health.ready().ok, true);
  const datastore = health.component('datastore');
  const apply = health.component('apply', { heartbeatMs: 10_000 });
  assert.deepEqual(health.ready().reasons, ['apply: starting', 'datastore: starting']);
  datastore.notReadyBecause('not in sync');
  apply.notReadyBecause(undefined);
  assert.deepEqual(health.ready().reasons, ['datastore: not in sync']);
  datastore.notReadyBecause(undefined);
  assert.equal(health.ready().ok, true);
  clock.advance(10_000);
  assert.equal(health.alive().ok, true);
  clock.advance(1);
  assert.match(health.alive().reasons[0]!, /^apply: no heartbeat for 10 s/);
  datastore.notReadyBecause(() => 'asked each time');
  const [first, second] = health.components();
  assert.equal(first!.name, 'apply');
  assert.match(first!.notAlive!, /^no heartbeat/);
  assert.deepEqual(second, { name: 'datastore', notReady: 'asked each time' });
  apply.beat();
  assert.equal(health.alive().ok, true);
});
