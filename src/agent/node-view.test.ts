import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPConfigurationObject, BGPPeerObject, FailsafePort, FelixConfigurationObject } from '#model';
import { failsafeOf } from './node-view.ts';

const metadata = (name: string) => ({ name, namespace: '', uid: '', labels: {}, annotations: {} });
const felix = (name: string, part: Partial<FelixConfigurationObject>): FelixConfigurationObject => ({
  metadata: metadata(name),
  notUsed: [],
  ...part,
});
const words = (ports: readonly FailsafePort[]): string[] =>
  ports.map(({ protocol, port, net }) => `${protocol} ${port}${net ? ` ${net}` : ''}`);

test("failsafe ports: the node's list, else the default one's, else Calico's; and always what the agent needs itself", () => {
  const input = { configurations: [], bgpConfigurations: [], peers: [], apiServer: undefined };
  const config = { nodeName: 'n1', bgpPort: 1179 };
  const calico = failsafeOf(input, config);
  for (const port of ['tcp 22', 'udp 68', 'tcp 6443', 'tcp 1179', 'udp 3784', 'udp 4784'])
    assert.ok(words(calico.inbound).includes(port), port);
  for (const port of ['udp 53', 'udp 67', 'tcp 179', 'tcp 1179', 'udp 3784'])
    assert.ok(words(calico.outbound).includes(port), port);
  const own = failsafeOf(
    {
      configurations: [
        felix('default', { failsafeInboundHostPorts: [{ protocol: 'TCP', port: 1 }], failsafeOutboundHostPorts: [] }),
        felix('node.n1', { failsafeInboundHostPorts: [{ protocol: 'SCTP', port: 2, net: '10.0.0.0/8' as never }] }),
        felix('node.n2', { failsafeInboundHostPorts: [{ protocol: 'TCP', port: 3 }] }),
      ],
      bgpConfigurations: [{ metadata: metadata('default'), listenPort: 2179 } as BGPConfigurationObject],
      peers: [{ metadata: metadata('p'), port: 3179 } as BGPPeerObject],
      apiServer: 'https://api.example',
    },
    config,
  );
  const bfd = ['udp 3784', 'udp 3785', 'udp 4784', 'udp 6784'];
  assert.deepEqual(words(own.inbound), ['sctp 2 10.0.0.0/8', 'tcp 1179', 'tcp 2179', ...bfd]);
  assert.deepEqual(words(own.outbound), ['tcp 1179', 'tcp 2179', 'tcp 3179', 'tcp 443', ...bfd]);
});
