/** projectcalico.org/v3 HostEndpoint. */
import { toIpAddress } from '#kit';
import type { ContainerPort, HostEndpointObject, ObjectMeta } from '#model';
import { isSet } from './calico-fields.ts';
import { dnsSubdomainFault, portNameFault } from './names.ts';
import { type Reader, show } from './reader.ts';

const expectedIPsMax = 1_024;
const profilesMax = 256;
const portsMax = 1_024;
/** What an interface of Linux can be called, without patterns. */
const interfacePattern = /^[a-zA-Z0-9_.][a-zA-Z0-9_.-]{0,14}$/;
const protocols = ['TCP', 'UDP', 'SCTP'] as const;

export function readHostEndpoint(document: Reader, metadata: ObjectMeta): HostEndpointObject {
  const spec = document.field('spec');
  spec.onlyFields(['node', 'interfaceName', 'expectedIPs', 'profiles', 'ports']);
  const nodeReader = spec.field('node');
  const node = nodeReader.requiredString() ?? '';
  const nodeFault = node === '' ? undefined : dnsSubdomainFault(node);
  if (nodeFault) nodeReader.fault(`${show(node)} names no node: it ${nodeFault}`);
  const interfaceName = readInterface(spec.field('interfaceName'));
  const entries = spec.field('expectedIPs').list(expectedIPsMax);
  const expectedIPs = entries.flatMap((entry) => {
    const text = entry.requiredString();
    if (text === undefined) return [];
    return toIpAddress(text) ?? entry.fault(`${show(text)} is not an address`) ?? [];
  });
  if (!isSet(spec.field('interfaceName')) && entries.length === 0) {
    spec.field('interfaceName').fault('is required without expectedIPs; write the name of an interface, or * for all');
  }
  return {
    metadata,
    node,
    ...(interfaceName !== undefined && { interfaceName }),
    expectedIPs: [...new Set(expectedIPs)],
    profiles: spec
      .field('profiles')
      .list(profilesMax)
      .flatMap((entry) => entry.requiredString() ?? []),
    ports: spec.field('ports').list(portsMax).flatMap(readPort),
  };
}

function readInterface(reader: Reader): string | undefined {
  const name = reader.textOrNone();
  if (name === undefined) return undefined;
  if (name === 'lo') reader.note('is not policed by Poplin: what a node says to itself always passes');
  if (name === '*' || interfacePattern.test(name)) return name;
  return reader.fault(`${show(name)} is no name of an interface; write at most 15 letters, digits, _ . and -, or *`);
}

function readPort(entry: Reader): ContainerPort[] {
  entry.onlyFields(['name', 'protocol', 'port']);
  const name = entry.field('name').requiredString();
  const nameFault = name === undefined ? undefined : portNameFault(name);
  if (nameFault) entry.field('name').fault(`${show(name)} names no port: it ${nameFault}`);
  const text = entry.field('protocol').requiredString();
  const protocol = protocols.find((each) => each === text?.toUpperCase());
  if (text !== undefined && !protocol)
    entry.field('protocol').fault(`${show(text)} has no named ports; write TCP, UDP or SCTP`);
  if (!entry.field('port').present) entry.field('port').fault('is required');
  const port = entry.field('port').integer(1, 65_535);
  return name !== undefined && protocol && port !== undefined ? [{ name, protocol, containerPort: port }] : [];
}
