import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IpAddress, type Logger, silentLogger } from '#kit';
import type { RouteKernel, RouteWrite } from '../drivers/route-ports.ts';
import { NodeRoutes } from './blackhole.ts';

function world(refusal: string) {
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_fields, message) => void warnings.push(message) };
  const routes = new NodeRoutes(155, log);
  const indexes = new Map([['pop1', 7]]);
  const resolve = (): void => routes.resolveDevices((device) => indexes.get(device));
  routes.setEndpoints([{ id: 'ns/a', interfaceName: 'pop1', addresses: ['10.1.0.5' as IpAddress] }], (device) =>
    indexes.get(device),
  );
  const writes: (readonly RouteWrite[])[] = [];
  const kernel = {
    write(batch: readonly RouteWrite[]) {
      writes.push(batch);
      return batch.map((_, index) => ({ index, code: refusal, text: '' }));
    },
  } as unknown as RouteKernel;
  return { routes, kernel, warnings, writes, indexes, resolve };
}

test("a pod's route whose interface has just gone is no refusal, and is not tried again once that is known", () => {
  const { routes, kernel, warnings, writes, indexes, resolve } = world('ENODEV');
  assert.equal(routes.apply(kernel), 0);
  assert.deepEqual(warnings, []);
  indexes.clear();
  resolve();
  assert.equal(routes.apply(kernel), 0);
  assert.equal(writes.length, 1);
});

test("a pod's route that the kernel refuses otherwise is said so, once", () => {
  const { routes, kernel, warnings } = world('EPERM');
  assert.equal(routes.apply(kernel), 1);
  assert.equal(routes.apply(kernel), 1);
  assert.equal(warnings.length, 1);
});
