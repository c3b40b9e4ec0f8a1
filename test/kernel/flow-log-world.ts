/** A packet world whose node reads what its rules tell of packets. */
import { createFlowLog, type FlowLog } from '#agent';
import type { FlowView } from '#api';
import type { Backend, FlowLogOptions, PolicyDataplane } from '#felix';
import { silentLogger, systemClock } from '#kit';
import { PolicyStateStore } from '#policy';
import { inNetns, interfaceName, watchPacketLog } from '#sys';
import { until } from '../support/wait.ts';
import { type Apply, applyTo } from './engine-world.ts';
import { PacketWorld } from './packet-world.ts';

const arrivalMs = 5_000;

export interface FlowLogWorld extends AsyncDisposable {
  readonly packets: PacketWorld;
  readonly dataplane: PolicyDataplane;
  readonly flows: FlowLog;
  /** What the rules say is known by name too. */
  readonly apply: Apply;
  /** All flows so far. */
  told(): Promise<readonly FlowView[]>;
  /** Waits for a flow that fits. */
  seen(fits: (flow: FlowView) => boolean): Promise<FlowView>;
}

export async function flowLogWorld(
  backend: Backend,
  pods: readonly string[],
  wanted: Partial<FlowLogOptions> = {},
): Promise<FlowLogWorld> {
  const flowLog = { verdicts: 'denied', group: 1179, ratePerSec: 100, ...wanted } as const;
  const packets = await PacketWorld.make(pods);
  const state = new PolicyStateStore();
  const dataplane = await packets.startDataplane({ backend, flowLog });
  const flows = createFlowLog(
    {
      open: (options) => inNetns(packets.node.netns, () => watchPacketLog(options)),
      state,
      clock: systemClock(),
      wallMs: Date.now,
      log: silentLogger,
      limits: { hit: () => undefined },
      interfaceName: (index) => inNetns(packets.node.netns, () => interfaceName(index)),
      refused: () => dataplane.status().flowLogRefused,
    },
    { nodeName: 'n1', flowLog: flowLog.verdicts, flowLogGroup: flowLog.group, flowLogRatePerSec: flowLog.ratePerSec },
  );
  flows.setEndpoints(packets.endpoints());
  await flows.start();
  const apply = applyTo(dataplane);
  const told = async (): Promise<readonly FlowView[]> =>
    (await flows.flows({ after: 0, limit: 1000, waitSec: 0 })).flows;
  return {
    packets,
    dataplane,
    flows,
    told,
    async apply(updates) {
      state.apply(updates);
      await apply(updates);
    },
    async seen(fits) {
      const found = async (): Promise<FlowView | undefined> => (await told()).find(fits);
      return until(found, { what: 'a flow', deadlineMs: arrivalMs });
    },
    async [Symbol.asyncDispose]() {
      await flows.stop();
      await packets[Symbol.asyncDispose]();
    },
  };
}
