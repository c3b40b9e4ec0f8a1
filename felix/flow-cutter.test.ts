import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type IpAddress, silentLogger } from '#kit';
import type { FlowTable, TrackedFlow } from './drivers/flow-table.ts';
import { FlowCutter } from './flow-cutter.ts';

const cutMark = 0x80000;
const ip = (text: string): IpAddress => text as IpAddress;
const flow = (destination: string, mark = 0): TrackedFlow => ({
  source: ip('10.0.0.1'),
  destination: ip(destination),
  fromHost: false,
  protocol: 6,
  sourcePort: 1024,
  destinationPort: 80,
  mark,
});

/** A table that a test can hold back or break; flows to an address in `forbidden` may not go on. */
function world(...flows: TrackedFlow[]) {
  const clock = new FakeClock();
  const table = new Map(flows.map((each) => [each.destination as string, each]));
  const forbidden = new Set<string>();
  const scans: string[] = [];
  const state: { broken: boolean; gate: Promise<void> | undefined } = { broken: false, gate: undefined };
  const kernel: FlowTable = {
    async *scan(addresses) {
      scans.push([...addresses].join(' '));
      await state.gate;
      if (state.broken) throw new Error('no table');
      yield [...table.values()].filter((each) => addresses.has(each.destination));
    },
    mark(chosen, { value, mask }) {
      for (const each of chosen) {
        const now = table.get(each.destination)!;
        table.set(each.destination, { ...now, mark: (now.mark & ~mask) | value });
      }
      return chosen.length;
    },
  };
  const cutter = new FlowCutter(
    { table: kernel, clock, log: silentLogger, judge: ({ destination }) => !forbidden.has(destination) },
    { cutMark },
  );
  const pass = async (ms = 0): Promise<void> => {
    clock.advance(ms);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const marks = (): number[] => [...table.values()].map(({ mark }) => mark);
  return { cutter, forbidden, scans, state, pass, marks };
}

test('a forbidden flow gets the bit and an allowed one loses it; other bits stay, as do flows of others', async () => {
  const { cutter, forbidden, pass, marks } = world(flow('10.0.0.2', 0x1), flow('10.0.0.3', 0x2), flow('10.0.0.4'));
  for (const address of ['10.0.0.2', '10.0.0.4']) forbidden.add(address);
  cutter.recheck([ip('10.0.0.2'), ip('10.0.0.3')]);
  await pass();
  assert.deepEqual(marks(), [cutMark | 0x1, 0x2, 0]);
  assert.deepEqual(cutter.counts, { cut: 1, restored: 0, failures: 0 });
  cutter.recheck([ip('10.0.0.2')]);
  await pass();
  assert.deepEqual(cutter.counts, { cut: 1, restored: 0, failures: 0 }, 'what is right is not written again');
  forbidden.clear();
  cutter.recheck([ip('10.0.0.2')]);
  await pass();
  assert.deepEqual(marks(), [0x1, 0x2, 0]);
  assert.deepEqual(cutter.counts, { cut: 1, restored: 1, failures: 0 });
});

test('what comes while it looks waits together, for four times as long as the look took', async () => {
  const { cutter, scans, state, pass } = world();
  const gate = Promise.withResolvers<void>();
  state.gate = gate.promise;
  cutter.recheck([ip('10.0.0.2')]);
  await pass();
  await pass(50);
  cutter.recheck([ip('10.0.0.3')]);
  cutter.recheck([ip('10.0.0.4'), ip('10.0.0.3')]);
  gate.resolve();
  await pass();
  await pass(199);
  assert.deepEqual(scans, ['10.0.0.2']);
  await pass(1);
  assert.deepEqual(scans, ['10.0.0.2', '10.0.0.3 10.0.0.4']);
  await pass(10_000);
  assert.equal(scans.length, 2, 'nothing to look at');
});

test('a look that fails is repeated with what came since, and not after the end', async () => {
  const { cutter, forbidden, scans, state, pass, marks } = world(flow('10.0.0.2'));
  forbidden.add('10.0.0.2');
  state.broken = true;
  cutter.recheck([ip('10.0.0.2')]);
  await pass();
  await pass(100);
  cutter.recheck([ip('10.0.0.3')]);
  assert.equal(cutter.counts.failures, 2);
  state.broken = false;
  await pass(200);
  assert.deepEqual(scans.at(-1)?.split(' ').sort(), ['10.0.0.2', '10.0.0.3']);
  assert.deepEqual(marks(), [cutMark]);
  assert.equal(cutter.counts.failures, 0);
  await cutter.stop();
  cutter.recheck([ip('10.0.0.2')]);
  await pass(10_000);
  assert.equal(scans.length, 3);
});
