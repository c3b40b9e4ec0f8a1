import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr, IpAddress } from '#kit';
import type { PolicyRule, PolicyUpdate } from '#model';
import { evaluate, evaluateConnection, type Packet, type PolicyQuery } from './evaluate.ts';
import { PolicyStateStore } from './policy-state.ts';
import { policyShow } from './show.ts';

const web = "pods:ns=shop;app == 'web'";
const named = "ports:tcp:http:ns(team == 'a');all()";
const own = "ports:tcp:http:ns=shop;app == 'db'";

/** shop/db: two policies for ingress, one for egress. shop/free: selected by nothing. */
function store(): PolicyStateStore {
  const state = new PolicyStateStore();
  const ingress: PolicyRule[] = [
    { action: 'allow', protocol: 6, source: { type: 'set', set: web }, destinationPorts: [{ first: 80, last: 80 }] },
    {
      action: 'allow',
      protocol: 17,
      source: { type: 'cidr', cidr: '10.0.0.0/8' as Cidr, except: ['10.9.0.0/16' as Cidr] },
      destinationPorts: [
        { first: 53, last: 53 },
        { first: 100, last: 200 },
      ],
    },
    { action: 'allow', protocol: 6, source: { type: 'set', set: web }, destinationNamedPorts: own },
  ];
  state.apply([
    { type: 'set', id: web, setType: 'ip', members: ['10.0.0.1', 'fd00::1'] },
    {
      type: 'set',
      id: named,
      setType: 'ip,port',
      members: ['10.0.0.7,tcp:8080', 'fd00::7,tcp:8080', '10.0.0.8,tcp:80'],
    },
    { type: 'set', id: own, setType: 'ip,port', members: [] },
    { type: 'policy', id: 'NetworkPolicy:shop/one', program: { ingress, egress: [] } },
    { type: 'policy', id: 'NetworkPolicy:shop/two', program: { ingress: [], egress: [] } },
    {
      type: 'policy',
      id: 'NetworkPolicy:shop/out',
      program: {
        ingress: [],
        egress: [
          { action: 'allow', protocol: 6, destinationNamedPorts: named },
          { action: 'allow', family: 6 },
        ],
      },
    },
    {
      type: 'endpoint',
      id: 'shop/db',
      program: {
        ingress: [
          { tier: 'default', policies: ['NetworkPolicy:shop/two', 'NetworkPolicy:shop/one'], endOfTier: 'deny' },
        ],
        egress: [{ tier: 'default', policies: ['NetworkPolicy:shop/out'], endOfTier: 'deny' }],
      },
    },
    { type: 'endpoint', id: 'shop/free', program: { ingress: [], egress: [] } },
  ]);
  return state;
}

function packet(from: string, to: string, protocol: Packet['protocol'], port: number): Packet {
  return { fromAddress: from as IpAddress, toAddress: to as IpAddress, protocol, port };
}

test('a verdict names the rule that decided', () => {
  const state = store();
  const ingress = (p: Packet) => evaluate(state, { ...p, endpoint: 'shop/db', direction: 'ingress' });
  assert.deepEqual(ingress(packet('10.0.0.1', '10.0.0.5', 'TCP', 80)), {
    verdict: 'allow',
    by: 'rule',
    tier: 'default',
    policy: 'NetworkPolicy:shop/one',
    rule: 0,
  });
  assert.equal(ingress(packet('10.1.0.1', '10.0.0.5', 'UDP', 150)).rule, 1);
  const denied = { verdict: 'deny', by: 'endOfTier', tier: 'default' };
  for (const p of [
    packet('10.0.0.1', '10.0.0.5', 'TCP', 81),
    packet('10.0.0.1', '10.0.0.5', 'SCTP', 80),
    packet('10.0.0.2', '10.0.0.5', 'TCP', 80),
    packet('10.9.0.1', '10.0.0.5', 'UDP', 53),
    packet('10.1.0.1', '10.0.0.5', 'UDP', 99),
    packet('fd00::2', 'fd00::5', 'UDP', 53),
  ]) {
    assert.deepEqual(ingress(p), denied, JSON.stringify(p));
  }
});

test('a named port belongs to an address, a protocol and a number', () => {
  const state = store();
  const egress = (p: Packet) => evaluate(state, { ...p, endpoint: 'shop/db', direction: 'egress' }).verdict;
  assert.equal(egress(packet('10.0.0.5', '10.0.0.7', 'TCP', 8080)), 'allow');
  assert.equal(egress(packet('10.0.0.5', '10.0.0.8', 'TCP', 8080)), 'deny');
  assert.equal(egress(packet('10.0.0.5', '10.0.0.7', 'UDP', 8080)), 'deny');
  assert.equal(egress(packet('fd00::5', 'fd00::9', 'UDP', 1)), 'allow', 'a rule of one family');
});

test('what no policy selects is open, what has no program is closed, and a pod reaches itself', () => {
  const state = store();
  const p = packet('192.0.2.1', '10.0.0.6', 'TCP', 1);
  assert.deepEqual(evaluate(state, { ...p, endpoint: 'shop/free', direction: 'ingress' }), {
    verdict: 'allow',
    by: 'notIsolated',
  });
  assert.equal(evaluate(state, { ...p, endpoint: 'shop/gone', direction: 'ingress' }).verdict, 'deny');
  const db = { address: '10.0.0.5' as IpAddress, endpoint: 'shop/db' };
  const free = { address: '10.0.0.6' as IpAddress, endpoint: 'shop/free' };
  const connect = (from: object, to: object) =>
    evaluateConnection(state, { from: from as typeof db, to: to as typeof db, protocol: 'TCP', port: 80 });
  assert.deepEqual(connect(db, db), { verdict: 'allow' });
  assert.equal(connect(free, db).ingress?.by, 'endOfTier');
  assert.equal(connect(free, db).egress?.by, 'notIsolated');
  assert.equal(connect(db, free).verdict, 'deny', 'the egress of the source decides too');
  assert.equal(connect({ address: '10.0.0.1' }, db).verdict, 'allow');
});

test('tiers: pass leaves one, deny ends, the end of the last decides', () => {
  const state = new PolicyStateStore();
  const rule = (action: PolicyRule['action'], first: number): PolicyRule => ({
    action,
    protocol: 6,
    destinationPorts: [{ first, last: first }],
  });
  state.apply([
    {
      type: 'policy',
      id: 'admin',
      program: { ingress: [rule('log', 4), rule('pass', 1), rule('deny', 2), rule('allow', 3)], egress: [] },
    },
    { type: 'policy', id: 'base', program: { ingress: [rule('allow', 1), rule('allow', 2)], egress: [] } },
    {
      type: 'endpoint',
      id: 'a/b',
      program: {
        ingress: [
          { tier: 'admin', policies: ['admin'], endOfTier: 'pass' },
          { tier: 'base', policies: ['base'], endOfTier: 'deny' },
        ],
        egress: [],
      },
    },
  ]);
  const verdict = (port: number) => {
    const v = evaluate(state, {
      ...packet('10.0.0.1', '10.0.0.2', 'TCP', port),
      endpoint: 'a/b',
      direction: 'ingress',
    });
    return `${v.verdict} ${v.by} ${v.tier}`;
  };
  assert.deepEqual([1, 2, 3, 4].map(verdict), [
    'allow rule base',
    'deny rule admin',
    'allow rule admin',
    'deny endOfTier base',
  ]);
});

test('policyShow says what applies in words', () => {
  const shown = policyShow(store(), 'shop/db');
  assert.deepEqual(shown, {
    pod: 'shop/db',
    ingress: {
      isolated: true,
      tiers: [
        {
          tier: 'default',
          policies: [
            { id: 'NetworkPolicy:shop/two', rules: [] },
            {
              id: 'NetworkPolicy:shop/one',
              rules: [
                "allow TCP 80 from pods app == 'web' in namespace shop (2 addresses)",
                'allow UDP 53, 100-200 from 10.0.0.0/8 except 10.9.0.0/16',
                `allow TCP port "http" (which no pod declares) from pods app == 'web' in namespace shop (2 addresses)`,
              ],
            },
          ],
          endOfTier: 'deny',
        },
      ],
    },
    egress: {
      isolated: true,
      tiers: [
        {
          tier: 'default',
          policies: [
            {
              id: 'NetworkPolicy:shop/out',
              rules: [
                `allow TCP port "http" (80, 8080) to all pods in namespaces team == 'a' (3 addresses)`,
                'allow all traffic to anywhere over IPv6',
              ],
            },
          ],
          endOfTier: 'deny',
        },
      ],
    },
  });
  assert.deepEqual(policyShow(store(), 'shop/free'), {
    pod: 'shop/free',
    ingress: { isolated: false, tiers: [] },
    egress: { isolated: false, tiers: [] },
  });
  assert.equal(policyShow(store(), 'shop/gone'), undefined);
});

test('rules of a tier in words: names of ports of any protocol, and nodes', () => {
  const state = new PolicyStateStore();
  const port = "ports:any:web:ns(all());app == 'web'";
  state.apply([
    { type: 'set', id: port, setType: 'ip,port', members: ['10.0.0.7,tcp:80', '10.0.0.7,udp:81'] },
    { type: 'set', id: 'pods:nodes;all()', setType: 'ip', members: ['192.0.2.1'] },
    { type: 'set', id: "pods:nodes;os == 'linux'", setType: 'ip', members: [] },
    {
      type: 'policy',
      id: 'ClusterNetworkPolicy:one',
      program: {
        ingress: [{ action: 'pass', destinationNamedPorts: port }],
        egress: [
          { action: 'deny', destination: { type: 'set', set: 'pods:nodes;all()' } },
          { action: 'allow', destination: { type: 'set', set: "pods:nodes;os == 'linux'" } },
        ],
      },
    },
    {
      type: 'endpoint',
      id: 'a/b',
      program: {
        ingress: [{ tier: 'kube-admin', policies: ['ClusterNetworkPolicy:one'], endOfTier: 'pass' }],
        egress: [{ tier: 'kube-admin', policies: ['ClusterNetworkPolicy:one'], endOfTier: 'pass' }],
      },
    },
  ]);
  const { ingress, egress } = policyShow(state, 'a/b')!;
  assert.deepEqual(ingress.tiers[0]?.policies[0]?.rules, ['pass any port "web" (80, 81 by pod) from anywhere']);
  assert.deepEqual(egress.tiers[0]?.policies[0]?.rules, [
    'deny all traffic to every node (1 address)',
    "allow all traffic to nodes os == 'linux' (0 addresses)",
  ]);
  assert.equal(ingress.isolated, false, 'the tier passes on what it does not decide');
});

test('what Calico says more is said in words, and asked of packets', () => {
  const state = new PolicyStateStore();
  const [app, nets] = ["pods:any;app == 'web'", 'nets:10.9.0.0/16'];
  state.apply([
    { type: 'set', id: app, setType: 'net', members: ['10.0.0.1/32'] },
    { type: 'set', id: nets, setType: 'net', members: ['10.9.0.0/16'] },
    {
      type: 'policy',
      id: 'GlobalNetworkPolicy:one',
      program: {
        ingress: [
          { action: 'log', notProtocol: 17 },
          { action: 'allow', family: 4, protocol: 1, icmp: { type: 8 }, notIcmp: { type: 8, code: 1 } },
          {
            action: 'allow',
            protocol: 6,
            source: { type: 'set', set: app },
            destination: { type: 'cidr', cidr: '10.0.0.0/8' as Cidr, except: [] },
            conditions: [
              { side: 'source', not: true, type: 'address', set: nets },
              { side: 'source', not: false, type: 'ports', ports: [{ first: 1024, last: 65535 }] },
              { side: 'destination', not: true, type: 'ports', ports: [{ first: 22, last: 22 }] },
            ],
          },
        ],
        egress: [],
      },
    },
    {
      type: 'endpoint',
      id: 'a/b',
      program: {
        ingress: [{ tier: 'default', policies: ['GlobalNetworkPolicy:one'], endOfTier: 'deny' }],
        egress: [],
      },
    },
  ]);
  assert.deepEqual(policyShow(state, 'a/b')!.ingress.tiers[0]?.policies[0]?.rules, [
    'log all but UDP from anywhere',
    'allow ICMP type 8 but type 8 code 1 from anywhere over IPv4',
    "allow TCP from pods and network sets app == 'web' (1 address), to 10.0.0.0/8, not from 10.9.0.0/16, from port 1024-65535, not to port 22",
  ]);
  const says = (part: object): string => {
    const packet = { fromAddress: '10.0.0.1', toAddress: '10.0.0.2', protocol: 'TCP', port: 80, ...part };
    return evaluate(state, { ...packet, endpoint: 'a/b', direction: 'ingress' } as PolicyQuery).verdict;
  };
  assert.deepEqual(
    [{}, { port: 22 }, { fromPort: 80 }, { fromAddress: '10.9.0.1' }, { toAddress: '11.0.0.1' }].map(says),
    ['allow', 'deny', 'deny', 'deny', 'deny'],
  );
  const icmp = (type: number, code: number): string => says({ protocol: 'ICMP', icmp: { type, code } });
  assert.deepEqual([says({ protocol: 'ICMP' }), icmp(8, 1), icmp(3, 0)], ['allow', 'deny', 'deny']);
});

test('services are said by name, with what they stand for now', () => {
  const state = new PolicyStateStore();
  const [ports, none, addresses] = ['service:shop/web', 'service:shop/gone', 'service-addresses:shop/web'];
  const members = ['10.0.0.1,tcp:80', '10.0.0.2,tcp:80', '10.0.0.1,udp:53'];
  state.apply([
    { type: 'set', id: ports, setType: 'ip,port', members },
    { type: 'set', id: none, setType: 'ip,port', members: [] },
    { type: 'set', id: addresses, setType: 'ip', members: ['10.0.0.1', '10.0.0.2'] },
    {
      type: 'policy',
      id: 'GlobalNetworkPolicy:one',
      program: {
        ingress: [{ action: 'deny', source: { type: 'set', set: addresses } }],
        egress: [
          { action: 'allow', destinationNamedPorts: ports },
          { action: 'allow', protocol: 6, destinationNamedPorts: none },
        ],
      },
    },
    {
      type: 'endpoint',
      id: 'a/b',
      program: {
        ingress: [{ tier: 'default', policies: ['GlobalNetworkPolicy:one'], endOfTier: 'deny' }],
        egress: [{ tier: 'default', policies: ['GlobalNetworkPolicy:one'], endOfTier: 'deny' }],
      },
    },
  ]);
  const { ingress, egress } = policyShow(state, 'a/b')!;
  assert.deepEqual(ingress.tiers[0]?.policies[0]?.rules, [
    'deny all traffic from endpoints of service shop/web (2 addresses)',
  ]);
  assert.deepEqual(egress.tiers[0]?.policies[0]?.rules, [
    'allow traffic to service shop/web (TCP 80, UDP 53 at 2 addresses)',
    'allow TCP to service shop/gone (no endpoints)',
  ]);
});

test('the state refuses updates that leave a name dangling', () => {
  const bad: readonly (readonly [PolicyUpdate, RegExp])[] = [
    [{ type: 'setRemove', id: web }, /removed while in use/],
    [{ type: 'policyRemove', id: 'NetworkPolicy:shop/one' }, /removed while in use/],
    [{ type: 'setDelta', id: 'no', added: ['10.0.0.1'], removed: [] }, /changed but not there/],
    [{ type: 'setDelta', id: web, added: ['10.0.0.1'], removed: [] }, /in it already/],
    [{ type: 'setDelta', id: web, added: [], removed: ['10.0.0.9'] }, /not in it/],
    [{ type: 'endpointRemove', id: 'no' }, /removed but not there/],
    [
      {
        type: 'policy',
        id: 'x',
        program: { ingress: [{ action: 'allow', source: { type: 'set', set: 'no' } }], egress: [] },
      },
      /names no, which is not there/,
    ],
    [
      {
        type: 'endpoint',
        id: 'x',
        program: { ingress: [{ tier: 't', policies: ['no'], endOfTier: 'deny' }], egress: [] },
      },
      /names no, which is not there/,
    ],
  ];
  for (const [update, message] of bad) assert.throws(() => store().apply([update]), message);
});
