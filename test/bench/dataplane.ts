/**
 * How long the policy dataplane takes: everything for the first time, a restart that adopts it, one label change, one policy change,
 * one more pod. Prints one JSON object a back end and shape of cluster. Needs root.
 */
import { createPolicyEngine } from '#policy';
import { PacketWorld } from '../kernel/packet-world.ts';
import { scaleModel } from '../support/policy-scale.ts';

const rounds = 20;
const pods = 10_000;
const spare = { namespace: 1, index: 50 };

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

const round = (value: number): number => Math.round(value * 10) / 10;

function summary(valuesMs: readonly number[]): { medianMs: number; maxMs: number } {
  const sorted = valuesMs.toSorted((a, b) => a - b);
  return { medianMs: round(sorted[sorted.length >> 1] ?? 0), maxMs: round(sorted.at(-1) ?? 0) };
}

async function bench(backend: 'nft' | 'legacy', namespaces: number, policiesPerPod: number): Promise<object> {
  const model = scaleModel({
    namespaces,
    podsPerNamespace: pods / namespaces,
    policiesPerNamespace: policiesPerPod,
    apps: policiesPerPod,
    localPods: 110,
  });
  await using world = await PacketWorld.make([]);
  const engine = createPolicyEngine();
  for (const update of model.updates) engine.update(update);
  for (const endpoint of model.endpoints) engine.setLocalEndpoint(endpoint.id, endpoint.addresses);
  engine.inSync();
  const state = engine.flush();
  const bring = async () => {
    const dataplane = world.dataplane({ backend, throttleMs: 0 });
    await dataplane.start();
    for (const endpoint of model.endpoints) dataplane.setEndpoint(endpoint);
    dataplane.apply(state);
    dataplane.setInSync();
    await dataplane.whenApplied();
    return dataplane;
  };
  const firstMs = await timed(async () => (await bring()).stop());
  const firstLines = world.commands.reduce((sum, { stdin }) => sum + stdin.split('\n').length - 1, 0);
  let dataplane: Awaited<ReturnType<typeof bring>> | undefined;
  const restartMs = await timed(async () => {
    dataplane = await bring();
  });
  const change = async (make: (index: number) => void): Promise<{ medianMs: number; maxMs: number }> => {
    const values: number[] = [];
    for (let index = 0; index < rounds; index++) {
      make(index);
      values.push(
        await timed(async () => {
          dataplane!.apply(engine.flush());
          await dataplane!.whenApplied();
        }),
      );
    }
    return summary(values);
  };
  return {
    bench: 'dataplane',
    backend,
    pods,
    namespaces,
    policies: namespaces * policiesPerPod,
    policiesPerPod,
    localPods: model.endpoints.length,
    firstMs: round(firstMs),
    firstLines,
    restartMs: round(restartMs),
    labelChange: await change((i) => engine.update(model.pod(spare.namespace, spare.index, { app: `a${i % 2}` }))),
    policyChange: await change((i) => engine.update(model.policy(spare.namespace, 1, 5000 + i))),
    podComes: await change((i) => {
      const update = model.pod(spare.namespace, spare.index + i);
      const addresses = update.type === 'upsert' && update.kind === 'Pod' ? update.object.podIPs : [];
      engine.setLocalEndpoint(update.key, addresses);
      dataplane!.setEndpoint({ id: update.key, interfaceName: `popbench${i}`, addresses });
    }),
  };
}

for (const backend of ['nft', 'legacy'] as const) {
  console.log(JSON.stringify(await bench(backend, 100, 10)));
  console.log(JSON.stringify(await bench(backend, 10, 100)));
}
