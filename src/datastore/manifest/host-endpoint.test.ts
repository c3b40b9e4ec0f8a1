import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostEndpointObject } from '#model';
import { decodeObject } from './decode.ts';
import { formatPath } from './reader.ts';

function read(spec: unknown, source: 'directory' | 'api' = 'directory') {
  const document = { apiVersion: 'projectcalico.org/v3', kind: 'HostEndpoint', metadata: { name: 'h' }, spec };
  const { faults, notes, typed } = decodeObject('HostEndpoint', document, source);
  const texts = (all: typeof faults) => all.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  return { object: typed?.object as HostEndpointObject | undefined, faults: texts(faults), notes: texts(notes) };
}

test('HostEndpoint: by name, by *, by address; ports in any case of letters', () => {
  const { object, faults } = read({
    node: 'n1',
    interfaceName: 'eth0.5',
    expectedIPs: ['192.0.2.1', '2001:DB8::1', '192.0.2.1'],
    profiles: ['projectcalico-default-allow'],
    ports: [{ name: 'web', protocol: 'tcp', port: 80 }],
  });
  assert.deepEqual(faults, []);
  const { metadata: _, ...rest } = object!;
  assert.deepEqual(rest, {
    node: 'n1',
    interfaceName: 'eth0.5',
    expectedIPs: ['192.0.2.1', '2001:db8::1'],
    profiles: ['projectcalico-default-allow'],
    ports: [{ name: 'web', protocol: 'TCP', containerPort: 80 }],
  });
  assert.equal(read({ node: 'n1', interfaceName: '*' }).object?.interfaceName, '*');
  assert.equal(read({ node: 'n1', interfaceName: '', expectedIPs: ['::1'] }).object?.interfaceName, undefined);
  assert.match(read({ node: 'n1', interfaceName: 'lo' }).notes.join(), /interfaceName: is not policed/);
});

test('HostEndpoint: what cannot be one is refused at its place', () => {
  for (const [spec, expected] of [
    [undefined, /^spec: is required/],
    [{ interfaceName: 'eth0' }, /^spec.node: is required/],
    [{ node: 'N 1', interfaceName: 'eth0' }, /^spec.node: /],
    [{ node: 'n1' }, /^spec.interfaceName: is required without expectedIPs/],
    [{ node: 'n1', interfaceName: 'eth*' }, /^spec.interfaceName: "eth\*" is no name/],
    [{ node: 'n1', interfaceName: 'a234567890123456' }, /^spec.interfaceName: /],
    [{ node: 'n1', expectedIPs: ['10.0.0.0/8'] }, /^spec.expectedIPs\[0\]: /],
    [{ node: 'n1', interfaceName: '*', ports: [{ name: 'web', protocol: 'ICMP', port: 1 }] }, /ports\[0\].protocol: /],
    [{ node: 'n1', interfaceName: '*', ports: [{ name: 'web', protocol: 'TCP', port: 0 }] }, /ports\[0\].port: /],
    [{ node: 'n1', interfaceName: '*', ports: [{ protocol: 'TCP', port: 1 }] }, /ports\[0\].name: is required/],
    [{ node: 'n1', interfaceName: '*', typo: 1 }, /^spec.typo: unknown field/],
  ] as const) {
    assert.match(read(spec).faults.join('; '), expected);
  }
});
