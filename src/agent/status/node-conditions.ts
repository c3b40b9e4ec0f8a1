/**
 * What the parts say, as the conditions of PoplinNode. True is well, for every type: an alert needs no list of types. A change that is on its
 * way is no failure, so that conditions do not flap with each pod that comes and goes.
 */
import { shownKind } from '#datastore';
import type { Kind } from '#model';
import { type ConditionNow, condition, listed } from './conditions.ts';
import type { NodeFacts } from './facts.ts';

export const nodeConditionTypes = [
  'Ready',
  'DatastoreInSync',
  'PolicyInForce',
  'RoutesInForce',
  'BGPEstablished',
  'AddressDetected',
  'PodCIDRAssigned',
] as const;
export type NodeConditionType = (typeof nodeConditionTypes)[number];

const judges: Readonly<Record<NodeConditionType, (facts: NodeFacts) => ConditionNow>> = {
  Ready: ready,
  DatastoreInSync: datastoreInSync,
  PolicyInForce: policyInForce,
  RoutesInForce: routesInForce,
  BGPEstablished: bgpEstablished,
  AddressDetected: addressDetected,
  PodCIDRAssigned: podCidrAssigned,
};

export function nodeConditions(facts: NodeFacts): readonly ConditionNow[] {
  return nodeConditionTypes.map((type) => judges[type](facts));
}

function ready({ ready }: NodeFacts): ConditionNow {
  if (ready.ok) return condition('Ready', true, 'AgentReady', 'the agent serves pods, routes and policy');
  return condition('Ready', false, 'ComponentNotReady', listed(ready.reasons));
}

function datastoreInSync({ datastore }: NodeFacts): ConditionNow {
  const type = 'DatastoreInSync';
  const kinds = Object.entries(datastore.kinds ?? {}).map(([kind, of]) => [shownKind(kind as Kind), of] as const);
  const forbidden = kinds.filter(([, { state }]) => state === 'forbidden').map(([kind]) => kind);
  if (forbidden.length > 0) {
    const text = `${listed(forbidden, 12)} may not be read: give the agent's ServiceAccount get, list and watch`;
    return condition(type, false, 'Forbidden', text);
  }
  if (datastore.stale) {
    const { reason, since } = datastore.stale;
    return condition(
      type,
      false,
      'ServerUnreachable',
      `what was known last is in force, from disk, since ${since}: ${reason}`,
    );
  }
  if (!datastore.inSync) {
    const blocking = datastore.faults.filter((fault) => fault.blocking);
    const [reason, why] =
      blocking.length > 0
        ? [
            'InvalidObjects',
            blocking.map(({ object, field, message }) => [object, field, message].filter(Boolean).join(': ')),
          ]
        : ['NotListedYet', datastore.waitingFor];
    return condition(type, false, reason, listed(why) || 'objects are still read');
  }
  const failing = kinds.filter(([, { state }]) => state === 'failing');
  if (failing.length > 0) {
    const text = failing.map(([kind, { reason }]) => (reason ? `${kind}: ${reason}` : kind));
    return condition(type, false, 'WatchFailing', `changes may be missed until the watch is back: ${listed(text)}`);
  }
  return condition(type, true, 'InSync', 'every kind is followed');
}

function policyInForce({ datastore, policy }: NodeFacts): ConditionNow {
  const type = 'PolicyInForce';
  if (!policy.inSync) {
    const text = `policy waits for the model: ${listed(datastore.waitingFor) || 'objects are still read'}; rules of an earlier run stay`;
    return condition(type, false, 'DatastoreNotInSync', text);
  }
  if (policy.failures > 0) {
    const text = `${policy.failures} attempts in a row to write the kernel's rules failed: ${policy.lastError ?? 'no reason was given'}`;
    return condition(type, false, 'ApplyFailed', text);
  }
  if (policy.policies.broken > 0) {
    const text = `${policy.policies.broken} policies cannot be expressed and deny everything; poplin policy show names them`;
    return condition(type, false, 'PolicyNotExpressible', text);
  }
  return condition(
    type,
    true,
    'Applied',
    `policies are in the kernel by iptables (${policy.backend ?? 'not chosen yet'})`,
  );
}

function routesInForce({ routes, datastore }: NodeFacts): ConditionNow {
  const type = 'RoutesInForce';
  if (routes.error !== undefined) return condition(type, false, 'ApplyFailed', routes.error);
  if (routes.refused > 0) {
    return condition(
      type,
      false,
      'Refused',
      `the kernel refused ${routes.refused} routes; poplin bgp routes names them`,
    );
  }
  if (routes.stale > 0 && datastore.inSync) {
    const text = `${routes.stale} routes of an earlier run are kept until peers have sent End-of-RIB`;
    return condition(type, false, 'WaitingForEndOfRib', text);
  }
  if (routes.unresolved > 0) {
    const text = `${routes.unresolved} prefixes have a next hop that no route of this node leads to`;
    return condition(type, false, 'NextHopUnresolved', text);
  }
  return condition(type, true, 'Applied', 'every chosen route is in the kernel');
}

function bgpEstablished({ speaker, bgp, nodeName }: NodeFacts): ConditionNow {
  const type = 'BGPEstablished';
  if (!speaker) {
    const why = [
      ...(bgp.startFailure === undefined ? [] : [bgp.startFailure]),
      ...bgp.issues
        .filter(({ object }) => object.kind === 'Node' && object.name === nodeName)
        .map(({ message }) => message),
    ];
    if (why.length === 0) return condition(type, 'Unknown', 'SpeakerStarting', 'the speaker waits for the model');
    return condition(type, false, 'SpeakerNotRunning', listed(why));
  }
  const down = speaker.peers.filter((peer) => peer.state !== 'Established');
  const count = speaker.peers.length;
  if (down.length === 0) {
    if (count === 0) return condition(type, true, 'NoPeers', 'no peer is configured for this node');
    return condition(type, true, 'AllEstablished', `${count} of ${count} sessions are Established`);
  }
  // No counters and no changing states: a peer that is away goes round through them.
  const texts = down.map(({ name, address, lastError }) => {
    const why = bgp.heldDown.get(name) ?? lastError;
    return `${name} (${address})${why ? `: ${why}` : ''}`;
  });
  const none = down.length === count;
  return condition(
    type,
    false,
    none ? 'NoneEstablished' : 'SomeNotEstablished',
    `not Established: ${listed(texts, 8)}`,
  );
}

function addressDetected({ addresses, nodeKnown, nodeName, datastore }: NodeFacts): ConditionNow {
  const type = 'AddressDetected';
  const { ipv4, ipv6, source } = addresses;
  const chosen = [ipv4, ipv6].filter((address) => address !== undefined);
  if (chosen.length > 0) {
    return condition(type, true, 'Detected', `${chosen.join(', ')}${source === undefined ? '' : ` (${source})`}`);
  }
  if (!nodeKnown) {
    const text = `there is no Node ${nodeName}; is --node-name right?`;
    return datastore.inSync ? condition(type, false, 'NodeMissing', text) : unread(type);
  }
  const rejected = addresses.rejected.map(
    ({ address, interface: on, reason }) => `${address}${on ? ` on ${on}` : ''}: ${reason}`,
  );
  const why = rejected.length > 0 ? `rejected: ${listed(rejected)}` : 'the Node has no InternalIP';
  const remedy = 'annotate the Node with projectcalico.org/IPv4Address, or set nodeIpv4 or nodeIpv6';
  return condition(type, false, 'NoAddress', `${why}; ${remedy}`);
}

function podCidrAssigned({ podCIDRs, nodeName, nodeKnown }: NodeFacts): ConditionNow {
  const type = 'PodCIDRAssigned';
  if (!nodeKnown) return unread(type);
  if (podCIDRs.length > 0) return condition(type, true, 'Assigned', podCIDRs.join(', '));
  const text = `Node ${nodeName}: spec.podCIDRs is empty: run kube-controller-manager with --allocate-node-cidrs and --cluster-cidr`;
  return condition(type, false, 'NotAssigned', text);
}

function unread(type: string): ConditionNow {
  return condition(type, 'Unknown', 'NodeNotRead', 'the Node object has not been read yet');
}
