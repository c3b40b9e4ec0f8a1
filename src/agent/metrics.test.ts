import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Datastore } from '#datastore';
import type { PolicyDataplane, RouteDataplane } from '#felix';
import { createIpam } from '#ipam';
import { FakeClock } from '#kit';
import { createMetrics } from '#obs';
import { createObservers, observe } from './metrics.ts';
import { createModelStore } from './model-store.ts';
import { datastoreStatus, nodeFacts, peerStatus, speakerStatus } from './status/fake-facts.ts';

async function scraped(): Promise<{ readonly body: string; readonly asked: number }> {
  const metrics = createMetrics();
  const clock = new FakeClock();
  const observers = createObservers(metrics, clock);
  let asked = 0;
  const mesh = ['n2', 'n3', 'n4'].map((name) => peerStatus(`mesh/${name}`));
  const station = {
    name: 'noc',
    address: '192.0.2.9',
    port: 11019,
    lastError: '',
    connectedCount: 3,
    bytesOut: 1,
    stateForMs: 1,
  };
  const speaker = {
    ...speakerStatus([...mesh, peerStatus('peer/tor', { state: 'Active' })]),
    stations: [{ ...station, state: 'connected' as const, overflowCount: 2, messagesOut: 7, queuedBytes: 9 }],
  };
  observe(metrics, {
    version: '1.2.3',
    model: createModelStore(),
    datastore: { status: () => datastoreStatus() } as Datastore,
    routes: {
      counts: () => ({
        learned: { ipv4: 5, ipv6: 2 },
        installed: { ipv4: 3, ipv6: 1 },
        held: 0,
        unresolved: 1,
        refused: 1,
        pending: 1,
        repairs: 4,
      }),
    } as RouteDataplane,
    policyDataplane: { status: () => nodeFacts().policy } as PolicyDataplane,
    bgp: {
      status: async () => {
        asked++;
        return speaker;
      },
      peers: () => ({ established: 3, configured: 4 }),
    },
    ipam: createIpam({ clock }),
    flows: {
      counts: () => [
        {
          verdict: 'denied',
          direction: 'ingress',
          namespace: 'shop',
          policy: '',
          rule: 'end of tier',
          tier: 'default',
          packets: 3,
        },
        {
          verdict: 'dropped',
          direction: 'egress',
          namespace: 'shop',
          policy: '',
          rule: 'invalid',
          tier: '',
          packets: 2,
        },
      ],
      status: () => ({ verdicts: 'denied', ratePerSec: 10, lost: 5 }),
    },
  });
  observers.onPolicyApply({ runMs: 4, changeMs: 12, ok: true });
  observers.onRouteApply({ runMs: 4, ok: false });
  observers.onCniCall({ command: 'ADD', outcome: 'try_again', tookMs: 20_000 });
  observers.limits.hit('cni_callers');
  observers.kube.answered('patch', 429);
  observers.kube.listing('Pod', true);
  observers.kube.heard('Pod');
  observers.kube.oversized('Pod');
  observers.kube.handedOn('Pod', 7);
  clock.advance(42_000);
  return { body: (await metrics.scrape()).body, asked };
}

test('what an operator watches is there, with the labels of the manual', async () => {
  const { body, asked } = await scraped();
  for (const line of [
    /^poplin_build_info\{version="1.2.3",node="v\d+[^"]*"\} 1$/m,
    /^poplin_policy_denied_packets_total\{direction="ingress",namespace="shop",policy="",rule="end of tier",tier="default"\} 3$/m,
    /^poplin_flow_log_lost_packets_total 5$/m,
    /^poplin_dataplane_dropped_packets_total\{direction="egress",namespace="shop",reason="invalid"\} 2$/m,
    /^poplin_bgp_sessions\{state="Established"\} 3$/m,
    /^poplin_bgp_sessions\{state="Active"\} 1$/m,
    /^poplin_bgp_prefixes_received\{peer="mesh",family="ipv4-unicast"\} 6$/m,
    /^poplin_bgp_prefixes_sent\{peer="peer\/tor",family="ipv6-unicast"\} 1$/m,
    /^poplin_bgp_peer_established\{peer="mesh"\} 3$/m,
    /^poplin_bgp_peer_established\{peer="peer\/tor"\} 0$/m,
    /^poplin_bgp_peer_messages_total\{peer="mesh",direction="received"\} \d+$/m,
    /^poplin_bgp_routes\{family="ipv4"\} \d+$/m,
    /^poplin_bmp_station_connected\{station="noc"\} 1$/m,
    /^poplin_bmp_station_overflows_total\{station="noc"\} 2$/m,
    /^poplin_bmp_station_messages_total\{station="noc"\} 7$/m,
    /^poplin_bmp_station_queued_bytes\{station="noc"\} 9$/m,
    /^poplin_routes_programmed\{family="ipv4"\} 3$/m,
    /^poplin_routes_learned 7$/m,
    /^poplin_routes_pending 3$/m,
    /^poplin_routes_repairs_total 4$/m,
    /^poplin_policy_policies 2$/m,
    /^poplin_policy_apply_seconds_count\{outcome="ok"\} 1$/m,
    /^poplin_policy_change_seconds_bucket\{le="0.025"\} 1$/m,
    /^poplin_routes_apply_seconds_count\{outcome="failed"\} 1$/m,
    /^poplin_cni_call_seconds_bucket\{le="20",command="ADD",outcome="try_again"\} 1$/m,
    /^poplin_limit_hits_total\{limit="cni_callers"\} 1$/m,
    /^poplin_limit_hits_total\{limit="object_bytes"\} 1$/m,
    /^poplin_api_requests_total\{verb="patch",code="429"\} 1$/m,
    /^poplin_datastore_lists_total\{kind="Pod",reason="again"\} 1$/m,
    /^poplin_datastore_watch_silence_seconds\{kind="Pod"\} 42$/m,
    /^poplin_datastore_hand_on_seconds_count\{kind="Pod"\} 1$/m,
    /^poplin_datastore_kind_state\{kind="Pod",state="synced"\} 1$/m,
  ]) {
    assert.match(body, line);
  }
  assert.ok(asked <= 1, `one question a scrape, not ${asked}`);
});
