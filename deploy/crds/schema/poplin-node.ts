/** poplin.dev/v1alpha1 PoplinNode: what the agent of one node says about itself. There is nothing to set, so it has no spec. */
import {
  ageColumn,
  conditions,
  flag,
  integer,
  type KindDefinition,
  list,
  object,
  oneOf,
  type Schema,
  text,
  time,
} from './build.ts';

const countMax = 2 ** 53 - 1;
const count = (description: string): Schema => integer(description, 0, countMax);
const byFamily = (description: string): Schema => object(description, { ipv4: count('IPv4.'), ipv6: count('IPv6.') });
const objectName = text('Kind and name, such as BGPPeer tor-1 or NetworkPolicy default/web.', 600);

const session = object(
  'A session.',
  {
    name: text('What it comes from, such as BGPPeer tor-1 or mesh n2, with the address where there are several.', 600),
    address: text("The peer's address.", 64),
    asn: integer("The peer's AS number.", 0, 4_294_967_295),
    state: oneOf('State of the session (RFC 4271 8.2.2); NotConfigured while something is missing, such as a Secret.', [
      'Idle',
      'Connect',
      'Active',
      'OpenSent',
      'OpenConfirm',
      'Established',
      'NotConfigured',
    ]),
    since: time('When it came into this state.'),
    established: count('How often the session came up since the agent started.'),
    received: byFamily('Routes received.'),
    sent: byFamily('Routes sent.'),
    lastError: text('Why it last went down, or does not come up.', 1024),
  },
  { required: ['name', 'state'] },
);

const bgp = object('BGP.', {
  asn: integer("The node's AS number.", 0, 4_294_967_295),
  routerID: text('BGP identifier (RFC 4271).', 15),
  established: count('Sessions that are up.'),
  configured: count('Sessions that should be up.'),
  sessions: list('The sessions, those that are not up first; at most 512, the counts are of all.', session, 512),
});

const kindEntry = object(
  'Objects of one kind.',
  {
    kind: text('The kind.', 253),
    apiVersions: list('Where it is read from.', text('API version.', 253), 4),
    resourceVersion: text('Everything up to here is in force on this node, but for what exceptions names.', 253),
    state: oneOf(
      'synced: followed. absent: the API server has no such kind. forbidden: the agent may not read it. waiting: not read yet. failing: read once, cannot be followed now.',
      ['synced', 'absent', 'forbidden', 'waiting', 'failing'],
    ),
    reason: text('Why it is not synced.', 1024),
  },
  { required: ['kind', 'state'] },
);

const status = object('What the agent found. Nobody else may write it.', {
  observedAt: time('When this was written.'),
  observedGeneration: count('metadata.generation of this object.'),
  summary: object('The same in a few words, for kubectl get.', {
    ready: oneOf('Condition Ready.', ['True', 'False', 'Unknown']),
    sessions: text('Sessions up, of those configured: 2/2.', 32),
    pods: text('Pods with an interface on this node.', 32),
    routes: text('Routes in the kernel, both families.', 32),
    policies: text('Policies in force on this node.', 32),
    version: text('Version of the agent.', 64),
    address: text("The node's BGP addresses.", 128),
  }),
  version: object('What runs.', {
    version: text('Version of the agent.', 64),
    commit: text('Commit that it was built from.', 64),
    node: text('Version of Node.js.', 64),
  }),
  addresses: object("The node's BGP addresses.", {
    ipv4: text('IPv4.', 15),
    ipv6: text('IPv6.', 45),
    source: text('Where they come from: an annotation, an option, InternalIP, or the route to the API server.', 256),
  }),
  rejectedAddresses: list(
    "Addresses that were not taken for the node's, and why.",
    object(
      'An address.',
      { address: text('The address.', 64), interface: text('Where it is.', 64), reason: text('Why not.', 512) },
      { required: ['address', 'reason'] },
    ),
    50,
  ),
  podCIDRs: list('Prefixes that pods of this node get addresses from.', text('Prefix.', 49), 16),
  conditions: conditions(
    'Ready, DatastoreInSync, PolicyInForce, RoutesInForce, BGPEstablished, AddressDetected, and others while something is wrong.',
  ),
  bgp,
  routes: object('Routes of the agent in the kernel.', {
    programmed: byFamily('In the kernel.'),
    unresolved: count('Received, and without a way to their next hop.'),
    stale: count('Kept over a restart of the agent or of a peer until it says its routes again (RFC 4724).'),
  }),
  policy: object('Network policy in the kernel.', {
    policies: count('Policies that select pods of this node.'),
    sets: count('Sets of addresses.'),
    endpoints: count('Pods whose traffic is filtered.'),
    backend: text('nft or legacy.', 32),
  }),
  pods: object('Pods of this node.', {
    count: count('With an interface.'),
    addressesUsed: list(
      'Addresses in use.',
      object(
        'One prefix.',
        { cidr: text('The prefix.', 49), used: count('In use.'), size: count('There are.') },
        { required: ['cidr'] },
      ),
      16,
    ),
  }),
  kinds: list('How far the agent has read each kind.', kindEntry, 64, {
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['kind'],
  }),
  exceptions: list(
    'What is not in force although it was read: at most 200.',
    object(
      'An object.',
      {
        object: objectName,
        field: text('The field.', 512),
        message: text('What is wrong with it, and what to do.', 1024),
        effect: text('What holds meanwhile.', 512),
        since: time('When the agent saw it first.'),
        blocking: flag('The node is not in sync because of it.'),
      },
      { required: ['message'] },
    ),
    200,
  ),
  exceptionsTotal: count('All of them.'),
  notUsed: list(
    'Fields that are set and have no effect: at most 200 objects.',
    object(
      'An object.',
      { object: objectName, fields: list('The fields.', text('A field.', 512), 256) },
      { required: ['object', 'fields'] },
    ),
    200,
  ),
  notUsedTotal: count('All such objects.'),
  faults: list('What else is wrong on this node, in words.', text('A fault.', 1024), 100),
});

const summary = (name: string, field: string, description: string, priority = 0) =>
  ({
    name,
    type: 'string',
    jsonPath: `.status.summary.${field}`,
    description,
    ...(priority > 0 ? { priority } : {}),
  }) as const;

export const poplinNode: KindDefinition = {
  group: 'poplin.dev',
  version: 'v1alpha1',
  kind: 'PoplinNode',
  plural: 'poplinnodes',
  shortNames: ['pn'],
  description: 'State of Poplin on the node of the same name. Made and written by the agent there.',
  status,
  columns: [
    {
      name: 'Ready',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Ready')].status",
      description: 'Pods of the node are routed and policed.',
    },
    summary('Sessions', 'sessions', 'BGP sessions up, of those configured.'),
    summary('Pods', 'pods', 'Pods with an interface on the node.'),
    summary('Routes', 'routes', 'Routes in the kernel.'),
    summary('Policies', 'policies', 'Network policies in force on the node.'),
    summary('Version', 'version', 'Version of the agent.'),
    summary('Address', 'address', "The node's BGP addresses.", 1),
    {
      name: 'Reason',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Ready')].message",
      description: 'Why the node is ready or not.',
      priority: 1,
    },
    {
      name: 'Seen',
      type: 'date',
      jsonPath: '.status.observedAt',
      description: 'Time since the agent wrote last.',
      priority: 1,
    },
    ageColumn,
  ],
};
