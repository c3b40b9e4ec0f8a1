/** Whose word a logged packet's verdict is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowLabel } from '#felix';
import type { IpAddress } from '#kit';
import type { TierProgram } from '#model';
import { PolicyStateStore } from '#policy';
import { describeFlow } from './describe.ts';
import { TCP } from './packet.ts';

const [ofHosts, ofBoth, staged] = [
  'GlobalNetworkPolicy:forward',
  'GlobalNetworkPolicy:all',
  'StagedNetworkPolicy:shop/all',
];
const tiers = (...policies: string[]): TierProgram[] => [{ tier: 'default', policies, endOfTier: 'deny' }];
const none = { ingress: [], egress: [] };
const packet = {
  family: 4 as const,
  source: '203.0.113.1' as IpAddress,
  destination: '10.1.0.1' as IpAddress,
  protocol: TCP,
  ports: { source: 40_000, destination: 80 },
};

/** The pod shop/api has a policy, and a staged one that would deny all; the node's host endpoint has two. */
function told(by: FlowLabel['by'], host?: true) {
  const state = new PolicyStateStore();
  const deny = { ingress: [{ action: 'deny' as const }], egress: [] };
  state.apply([
    { type: 'policy', id: ofHosts, program: deny },
    { type: 'policy', id: ofBoth, program: deny },
    { type: 'policy', id: staged, program: deny, staged: true },
    {
      type: 'endpoint',
      id: 'shop/api',
      program: { ingress: tiers(ofBoth), egress: [], staged: { ingress: tiers(staged) } },
    },
    {
      type: 'endpoint',
      id: 'HostEndpoint:up',
      program: {
        ...none,
        host: {
          expectedIPs: [],
          otherwise: 'deny',
          forward: { ingress: tiers(ofHosts, ofBoth), egress: [] },
          preDNAT: [],
          untracked: none,
        },
      },
    },
  ]);
  const label: FlowLabel = { verdict: 'denied', direction: 'ingress', by, ...(host && { host }) };
  return describeFlow(label, packet, undefined, {
    names: { of: (address) => (address === packet.destination ? { pod: 'shop/api' } : {}) },
    state,
    mayJudge: () => true,
  });
}

test('what a host endpoint decides is no word of the pod behind it, nor of its staged policies', () => {
  const atEnd = { type: 'endOfTier', tier: 'default' } as const;
  assert.deepEqual(told(atEnd).by, { ...atEnd, policies: [ofBoth] });
  assert.deepEqual(told(atEnd, true).by, { ...atEnd, policies: [] });
  const whose = (by: FlowLabel['by'], host?: true): unknown[] => {
    const { host: ofHost, staged: would, destination } = told(by, host);
    assert.equal(destination.pod, 'shop/api');
    return [ofHost, would?.verdict];
  };
  const ofPod = [undefined, 'denied'];
  const ofHost = [true, undefined];
  assert.deepEqual(whose(atEnd), ofPod);
  assert.deepEqual(whose(atEnd, true), ofHost);
  assert.deepEqual(whose({ type: 'none' }, true), ofHost);
  assert.deepEqual(whose({ type: 'rule', policy: ofHosts, rule: 1 }), ofHost, 'the pod has no such policy');
  assert.deepEqual(whose({ type: 'rule', policy: ofBoth, rule: 1 }), ofPod);
  assert.deepEqual(whose({ type: 'rule', policy: 'GlobalNetworkPolicy:gone', rule: 1 }), ofPod);
});
