import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import type { FlowsQuery } from './flows-view.ts';
import { createApp } from './server.ts';
import type { AgentView } from './view.ts';

test('parameters of /v1/flows arrive as they are meant, and are bounded', async () => {
  const asked: FlowsQuery[] = [];
  const view = {
    flows: async (query: FlowsQuery) => {
      asked.push(query);
      return { flows: [], next: 7, missed: 0, log: { verdicts: 'denied', ratePerSec: 10, lost: 0 } };
    },
    flowCounts: () => [],
  } as Partial<AgentView> as AgentView;
  const app = await createApp({ view, log: silentLogger });
  const status = async (query: string): Promise<number> => (await app.inject(`/v1/flows${query}`)).statusCode;
  assert.equal(await status(''), 200);
  assert.equal(await status('?after=5&limit=1000&waitSec=8&verdict=allowed&pod=a/b&namespace=a'), 200);
  assert.equal(await status('?staged=true'), 200);
  assert.deepEqual(asked.pop(), { after: 0, limit: 200, waitSec: 0, staged: true });
  assert.deepEqual(asked, [
    { after: 0, limit: 200, waitSec: 0 },
    { after: 5, limit: 1000, waitSec: 8, verdict: 'allowed', pod: 'a/b', namespace: 'a' },
  ]);
  for (const wrong of [
    '?limit=1001',
    '?limit=0',
    '?waitSec=9',
    '?after=-1',
    '?verdict=odd',
    '?pod=b',
    '?x=1',
    '?staged=1',
  ])
    assert.equal(await status(wrong), 400, wrong);
  assert.deepEqual((await app.inject('/v1/flows/counts')).json(), { counts: [] });
  assert.equal((await app.inject('/v1/flows/counts?x=1')).statusCode, 400);
  await app.close();
});
