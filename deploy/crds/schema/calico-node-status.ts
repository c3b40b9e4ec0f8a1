/** projectcalico.org/v3 CalicoNodeStatus: a question about one node, answered in its status. */
import {
  ageColumn,
  conditions,
  integer,
  type KindDefinition,
  list,
  object,
  oneOf,
  type Schema,
  text,
  time,
} from './build.ts';

const daemon = (family: string): Schema =>
  object(`The BGP speaker for ${family}.`, {
    state: oneOf('Ready when it runs and serves.', ['Ready', 'NotReady']),
    version: text('Version of the speaker.', 256),
    routerID: text('BGP identifier (RFC 4271).', 64),
    lastBootTime: text('When the speaker was started.', 64),
    lastReconfigurationTime: text('When its configuration changed last.', 64),
  });

const peers = (family: string): Schema =>
  list(
    `Sessions over ${family}.`,
    object('A session.', {
      peerIP: text('Address of the peer.', 64),
      type: oneOf('NodeMesh, or a BGPPeer of this node (NodePeer) or of all (GlobalPeer).', [
        'NodeMesh',
        'NodePeer',
        'GlobalPeer',
      ]),
      state: oneOf('State of the session (RFC 4271 8.2.2).', [
        'Idle',
        'Connect',
        'Active',
        'OpenSent',
        'OpenConfirm',
        'Established',
        'Close',
      ]),
      since: text('Since when it has been in this state.', 64),
    }),
    10_000,
  );

const routes = (family: string): Schema =>
  list(
    `${family} routes.`,
    object('A route.', {
      type: oneOf('FIB: used to forward. RIB: known, not used.', ['FIB', 'RIB']),
      destination: text('The prefix.', 64),
      gateway: text('Next hop.', 64),
      interface: text('Outgoing interface.', 64),
      learnedFrom: object('Where it comes from.', {
        sourceType: oneOf('Kind of source.', ['Kernel', 'Static', 'Direct', 'NodeMesh', 'BGPPeer']),
        peerIP: text('Address of the peer that sent it.', 64),
      }),
    }),
    10_000,
  );

const count = (what: string): Schema => integer(`Number of ${what}.`, 0, 1_000_000);

export const calicoNodeStatus: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'CalicoNodeStatus',
  plural: 'caliconodestatuses',
  shortNames: ['nodestatus', 'nodestatuses'],
  description:
    "Asks the agent of one node for a report of its BGP sessions and routes, which it writes into this object's status.",
  spec: object(
    'What is asked.',
    {
      node: text('Name of the node.', 253, { minLength: 1 }),
      classes: list(
        'Parts of the report.',
        oneOf('Agent: the speaker itself. BGP: sessions. Routes: routes.', ['Agent', 'BGP', 'Routes']),
        3,
        { 'x-kubernetes-list-type': 'set', minItems: 1 },
      ),
      updatePeriodSeconds: integer(
        'Seconds between two reports, at most a day. 0: one report after each change of this object.',
        0,
        86_400,
      ),
    },
    { required: ['node', 'classes', 'updatePeriodSeconds'] },
  ),
  status: object('The report, as Calico writes it.', {
    lastUpdated: time('When it was written.', { nullable: true }),
    agent: object('Class Agent.', { birdV4: daemon('IPv4'), birdV6: daemon('IPv6') }),
    bgp: object(
      'Class BGP.',
      {
        numberEstablishedV4: count('established sessions over IPv4'),
        numberNotEstablishedV4: count('other sessions over IPv4'),
        numberEstablishedV6: count('established sessions over IPv6'),
        numberNotEstablishedV6: count('other sessions over IPv6'),
        peersV4: peers('IPv4'),
        peersV6: peers('IPv6'),
      },
      { required: ['numberEstablishedV4', 'numberNotEstablishedV4', 'numberEstablishedV6', 'numberNotEstablishedV6'] },
    ),
    routes: object('Class Routes.', { routesV4: routes('IPv4'), routesV6: routes('IPv6') }),
    observedGeneration: integer('metadata.generation of the object that this status is about.', 0, 2 ** 53 - 1),
    conditions: conditions("Poplin's own. Reported: the agent of the node wrote the report."),
  }),
  columns: [
    { name: 'Node', type: 'string', jsonPath: '.spec.node', description: 'The node that is asked.' },
    { name: 'Classes', type: 'string', jsonPath: '.spec.classes', description: 'Parts of the report.' },
    {
      name: 'Period',
      type: 'integer',
      jsonPath: '.spec.updatePeriodSeconds',
      description: 'Seconds between two reports; 0: one only.',
    },
    { name: 'Updated', type: 'date', jsonPath: '.status.lastUpdated', description: 'Time since the last report.' },
    ageColumn,
  ],
};
