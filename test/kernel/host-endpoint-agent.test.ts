/** Host endpoints through the file datastore and a whole agent, and the ports that stay open for it and for people. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exec } from '#sys';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const machine = needs({ root: true, commands: ['iptables', 'ipset', 'ip', 'bash', 'timeout'] });
/** The agent's own, of `httpListen`. */
const httpPort = 18_080;
const v3 = 'projectcalico.org/v3';

test(
  'a host endpoint of a directory closes what no policy opens, but for failsafe ports, BGP and SSH',
  machine,
  async (t) => {
    const agent = await LoneAgent.ready(t, { config: { httpListen: `[::]:${httpPort}` } });
    const opens = async (address: string, port: number): Promise<boolean> => {
      const attempt = ['timeout', '0.4', 'bash', '-c', `exec 3<>/dev/tcp/${address}/${port}`];
      return (await exec('ip', ['netns', 'exec', agent.outside, ...attempt])).code === 0;
    };
    const both = async (port: number, open: boolean): Promise<void> => {
      for (const address of ['192.0.2.1', '2001:db8::1']) {
        await until(async () => (await opens(address, port)) === open, {
          what: `port ${port} of ${address} to be ${open ? 'open' : 'closed'}`,
        });
      }
    };
    await both(httpPort, true);
    agent.write('host.yaml', {
      apiVersion: v3,
      kind: 'HostEndpoint',
      metadata: { name: 'n1-up', labels: { role: 'node' } },
      spec: { node: 'n1', expectedIPs: ['192.0.2.1'] },
    });
    await both(httpPort, false);
    await both(179, true);
    agent.write('allow.yaml', {
      apiVersion: v3,
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'allow' },
      spec: {
        selector: "role == 'node'",
        ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [httpPort] } }],
      },
    });
    await both(httpPort, true);
    agent.write('felix.yaml', {
      apiVersion: v3,
      kind: 'FelixConfiguration',
      metadata: { name: 'node.n1' },
      spec: { failsafeInboundHostPorts: [{ port: httpPort }], failsafeOutboundHostPorts: [] },
    });
    // Nothing is left of the policy that allows it, and nothing of Calico's list.
    agent.write('allow.yaml', {
      apiVersion: v3,
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'deny' },
      spec: { selector: 'all()', ingress: [{ action: 'Deny' }] },
    });
    const saved = (): Promise<string> =>
      agent.must('ip', 'netns', 'exec', agent.netns, 'iptables-save', '-t', 'mangle');
    const failsafe = new RegExp(`-A poplin-hhi-\\S+ -p tcp -m multiport --dports 179,${httpPort} `);
    await until(async () => failsafe.test(await saved()), { what: 'the failsafe ports to be its own and BGP' });
    await until(async () => (await saved()).includes('GlobalNetworkPolicy:deny'), { what: 'the policy to be there' });
    await both(httpPort, true);
    // The interface is no longer the one that has the address.
    await agent.must('ip', '-netns', agent.netns, 'addr', 'del', '192.0.2.1/24', 'dev', 'up0');
    await until(async () => !(await saved()).includes('-i up0'), { what: "the interface to be nobody's" });
    const { problems } = await agent.status();
    assert.ok(problems.some((text) => text.startsWith('HostEndpoint n1-up: no interface has any of')));
  },
);
