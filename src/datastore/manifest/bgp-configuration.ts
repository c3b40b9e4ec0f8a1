/** projectcalico.org/v3 BGPConfiguration: Calico's fields, and ours (advertiseNodeAddresses, holdTime, nodeMeshFilters, nodeMeshBFD). */
import type { BGPConfigurationObject, ObjectMeta } from '#model';
import {
  type FieldsNotUsed,
  isSettingsName,
  noteNotUsed,
  readAsn,
  readFilterNames,
  readHoldTime,
  readInterfacePattern,
  readPassword,
  readSeconds,
  restartTimeSecMax,
} from './calico-fields.ts';
import { readPrefixAdvertisements } from './prefix-advertisements.ts';
import { type Reader, show } from './reader.ts';
import { readBfd } from './speaker-fields.ts';

const used = [
  'asNumber',
  'nodeToNodeMeshEnabled',
  'listenPort',
  'bindMode',
  'nodeMeshPassword',
  'nodeMeshMaxRestartTime',
  'nodeMeshFilters',
  'nodeMeshBFD',
  'communities',
  'prefixAdvertisements',
  'ignoredInterfaces',
  'advertiseNodeAddresses',
  'holdTime',
];
const notUsed: FieldsNotUsed = {
  logSeverityScreen: 'Info',
  serviceClusterIPs: undefined,
  serviceExternalIPs: undefined,
  serviceLoadBalancerIPs: undefined,
  serviceLoadBalancerAggregation: 'Enabled',
  localWorkloadPeeringIPV4: undefined,
  localWorkloadPeeringIPV6: undefined,
  programClusterRoutes: undefined,
  ipv4NormalRoutePriority: undefined,
  ipv6NormalRoutePriority: undefined,
};
const ignoredInterfacesMax = 100;

export function readBgpConfiguration(document: Reader, metadata: ObjectMeta): BGPConfigurationObject {
  if (metadata.name && !isSettingsName(metadata.name)) {
    document
      .field('metadata')
      .field('name')
      .fault(`${show(metadata.name)} has no meaning; write default for all nodes or node.NAME for one`);
  }
  const spec = document.field('spec');
  spec.onlyFields([...used, ...Object.keys(notUsed)]);
  noteNotUsed(spec, notUsed);
  const asNumber = readAsn(spec.field('asNumber'));
  const mesh = spec.field('nodeToNodeMeshEnabled').boolean();
  const listenPort = spec.field('listenPort').integer(1, 65535);
  const bindMode = spec.field('bindMode').choiceOrNone(['None', 'NodeIP'] as const);
  const nodeMeshPassword = readPassword(meshField(spec, 'nodeMeshPassword', metadata, mesh));
  const restartTimeReader = meshField(spec, 'nodeMeshMaxRestartTime', metadata, mesh);
  const nodeMeshMaxRestartTimeSec = readSeconds(restartTimeReader, restartTimeSecMax);
  const nodeMeshFilters = readFilterNames(meshField(spec, 'nodeMeshFilters', metadata, mesh));
  const nodeMeshBFD = readBfd(meshField(spec, 'nodeMeshBFD', metadata, mesh));
  const prefixAdvertisements = readPrefixAdvertisements(spec);
  const ignoredInterfaces = readIgnoredInterfaces(spec.field('ignoredInterfaces'));
  const advertiseNodeAddresses = spec.field('advertiseNodeAddresses').boolean();
  const holdTimeSec = readHoldTime(spec.field('holdTime'));
  return {
    metadata,
    ...(asNumber === undefined ? {} : { asNumber }),
    ...(mesh === undefined ? {} : { nodeToNodeMeshEnabled: mesh }),
    ...(listenPort === undefined ? {} : { listenPort }),
    ...(bindMode === undefined ? {} : { bindMode }),
    ...(nodeMeshPassword === undefined ? {} : { nodeMeshPassword }),
    ...(nodeMeshMaxRestartTimeSec === undefined ? {} : { nodeMeshMaxRestartTimeSec }),
    ...(nodeMeshFilters.length === 0 ? {} : { nodeMeshFilters }),
    ...(nodeMeshBFD === undefined ? {} : { nodeMeshBFD }),
    ...(prefixAdvertisements.length === 0 ? {} : { prefixAdvertisements }),
    ...(ignoredInterfaces.length === 0 ? {} : { ignoredInterfaces }),
    ...(advertiseNodeAddresses === undefined ? {} : { advertiseNodeAddresses }),
    ...(holdTimeSec === undefined ? {} : { holdTimeSec }),
  };
}

/** Both ends of a session of the mesh must have the same, so it stands in the object for all nodes, and needs the mesh. */
function meshField(spec: Reader, name: string, metadata: ObjectMeta, mesh: boolean | undefined): Reader {
  const reader = spec.field(name);
  if (reader.present && metadata.name.startsWith('node.')) {
    reader.fault('belongs to all nodes; move it to the BGPConfiguration named default');
  }
  if (reader.present && mesh === false) {
    reader.fault('is for the sessions of the node mesh; remove it, or set nodeToNodeMeshEnabled to true');
  }
  return reader;
}

function readIgnoredInterfaces(reader: Reader): readonly string[] {
  const names = reader.list(ignoredInterfacesMax).flatMap((entry) => {
    if (entry.value === '*')
      return entry.fault('"*" would ignore every interface; name some of them, e.g. docker*') ?? [];
    return readInterfacePattern(entry) ?? [];
  });
  return [...new Set(names)];
}
