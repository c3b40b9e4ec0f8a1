/** Monitoring stations (RFC 7854) and records of messages (RFC 6396) in the speaker's file. */
import type { Node } from 'yaml';
import { type BmpStationConfig, type BmpTable, bmpTables, type MrtConfig } from '#bgp';
import { familyOf } from '#kit';
import {
  asAddress,
  asBoolean,
  asInteger,
  asPort,
  asSeconds,
  asText,
  Fields,
  fail,
  listOf,
  type Source,
} from './speaker-file-yaml.ts';

/** RIPE's and RouteViews' collectors rotate by 5 and 15 minutes. */
const mrtRotateSec = 900;
const mrtRotateBytes = 100_000_000;
const daySec = 86_400;
const retrySecMax = 720;
const yearSec = 365 * daySec;

export function asStations(source: Source, node: Node | null): BmpStationConfig[] {
  const stations = listOf(asStation)(source, node);
  const names = stations.map(({ name }) => name);
  const twin = names.find((name, index) => names.indexOf(name) !== index);
  if (twin !== undefined) fail(source, node, `two monitoring stations have the name ${twin}`);
  return stations;
}

function asStation(source: Source, node: Node | null): BmpStationConfig {
  const fields = new Fields(source, node, 'a monitoring station');
  const address = fields.required('address', asAddress);
  const port = fields.required('port', asPort);
  const localAddress = fields.optional('localAddress', asAddress);
  const statisticsSec = fields.optional('statistics', asSeconds('statistics', 1, daySec));
  const multipath = fields.optional('multipath', asBoolean);
  const connectRetrySec = fields.optional('connectRetry', asSeconds('connectRetry', 1, retrySecMax));
  const station: BmpStationConfig = {
    name: fields.optional('name', asText) ?? `${address} port ${port}`,
    address,
    port,
    ...(localAddress === undefined ? {} : { localAddress }),
    monitor: [...new Set(fields.required('monitor', listOf(asBmpTable)))],
    ...(multipath === undefined ? {} : { multipath }),
    ...(statisticsSec === undefined ? {} : { statisticsSec }),
    ...(connectRetrySec === undefined ? {} : { connectRetrySec }),
  };
  fields.done();
  if (localAddress !== undefined && familyOf(localAddress) !== familyOf(address)) {
    fail(source, node, `localAddress ${localAddress} and address ${address} are of different families`);
  }
  return station;
}
function asBmpTable(source: Source, node: Node | null): BmpTable {
  const text = asText(source, node);
  const table = bmpTables.find((name) => name === text);
  return table ?? fail(source, node, `${text} is no table that can be monitored; known are ${bmpTables.join(', ')}`);
}

export function asMrt(source: Source, node: Node | null): MrtConfig {
  const fields = new Fields(source, node, 'mrt');
  const updates = fields.optional('updates', asUpdates);
  fields.done();
  return updates ? { updates } : {};
}
function asUpdates(source: Source, node: Node | null): NonNullable<MrtConfig['updates']> {
  const fields = new Fields(source, node, 'mrt.updates');
  const bytes = asInteger(1, Number.MAX_SAFE_INTEGER, 'rotateBytes');
  const updates = {
    file: fields.required('file', asText),
    rotateBytes: fields.optional('rotateBytes', bytes) ?? mrtRotateBytes,
    rotateSec: fields.optional('rotate', asSeconds('rotate', 1, yearSec)) ?? mrtRotateSec,
    sent: fields.optional('sent', asBoolean) ?? false,
  };
  fields.done();
  return updates;
}
