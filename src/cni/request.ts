import { objectKey } from '#model';
import { CniError } from './errors.ts';

export const supportedVersions = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof supportedVersions)[number];
/** For answers to those whose version cannot be read. */
export const latestVersion: CniVersion = '1.1.0';

/** Which version brought a command that was not there from the start. */
const commandSince: Readonly<Record<CniCommand, CniVersion>> = {
  ADD: '0.3.1',
  DEL: '0.3.1',
  CHECK: '0.4.0',
  STATUS: '1.1.0',
  GC: '1.1.0',
};
export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC';

export interface PodReference {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** Absent with runtimes that do not say. For static pods it is the hash of their configuration. */
  readonly uid?: string;
}

export interface NetworkConfig {
  readonly name: string;
  /** Bytes; absent: the agent's choice. */
  readonly mtu?: number;
  readonly dns?: object;
  /** Result of the plugin before us (ADD) or of our ADD (CHECK, DEL). */
  readonly prevResult?: Readonly<Record<string, unknown>>;
}

export interface Attachment {
  readonly containerId: string;
  readonly ifName: string;
}

/** A call whose every part that its command needs is there and valid. */
export type CniRequest =
  | (Attachment & {
      readonly command: 'ADD';
      readonly version: CniVersion;
      readonly config: NetworkConfig;
      readonly netns: string;
      readonly pod: PodReference;
    })
  | (Attachment & {
      readonly command: 'CHECK';
      readonly version: CniVersion;
      readonly config: NetworkConfig;
      readonly netns: string;
    })
  | (Attachment & { readonly command: 'DEL'; readonly version: CniVersion; readonly config: NetworkConfig })
  | { readonly command: 'STATUS'; readonly version: CniVersion; readonly config: NetworkConfig }
  | {
      readonly command: 'GC';
      readonly version: CniVersion;
      readonly config: NetworkConfig;
      readonly validAttachments: readonly Attachment[];
    };

export type RequestOf<C extends CniRequest['command']> = Extract<CniRequest, { readonly command: C }>;

export type Environment = Readonly<Record<string, string>>;

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const CONTAINER_ID_BYTES_MAX = 190;
const IFNAME_BYTES_MAX = 15;
const MTU_MIN = 576;
const MTU_MAX = 65_535;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The "cniVersion" that answers should carry, whatever else is wrong with the call.
 *
 * @example answerVersion('{"cniVersion":"0.4.0","name":7}') // '0.4.0'
 */
export function answerVersion(stdin: string): CniVersion {
  try {
    const parsed: unknown = JSON.parse(stdin);
    const version = isRecord(parsed) ? parsed['cniVersion'] : undefined;
    return supportedVersions.find((v) => v === version) ?? latestVersion;
  } catch (error) {
    if (error instanceof SyntaxError) return latestVersion;
    throw error;
  }
}

/**
 * Reads one call: CNI specification 1.1.0, sections 1 (configuration) and 2 (protocol).
 *
 * @throws CniError with the specification's codes: 6 stdin, 1 version, 4 environment, 7 configuration; in this order.
 */
export function parseRequest(environment: Environment, stdin: string): CniRequest {
  const raw = parseStdin(stdin);
  const version = parseVersion(raw['cniVersion']);
  const command = parseCommand(environment, version);
  if (command === 'STATUS') return { command, version, config: parseConfig(raw) };
  if (command === 'GC')
    return { command, version, config: parseConfig(raw), validAttachments: parseValidAttachments(raw) };
  const containerId = parseContainerId(environment['CNI_CONTAINERID'] ?? '');
  const ifName = parseIfName(environment['CNI_IFNAME'] ?? '');
  if (command === 'DEL') return { command, version, containerId, ifName, config: parseConfig(raw) };
  const netns = environment['CNI_NETNS'] ?? '';
  if (netns === '') throw environmentError('CNI_NETNS', netns, 'is required');
  if (command === 'CHECK') return { command, version, containerId, ifName, netns, config: parseConfig(raw) };
  const pod = parsePod(environment['CNI_ARGS'] ?? '');
  return { command, version, containerId, ifName, netns, pod, config: parseConfig(raw) };
}

function parseStdin(stdin: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(stdin);
  } catch (error) {
    const details = error instanceof Error ? error.message : undefined;
    throw new CniError('DECODE_FAILURE', 'network configuration on stdin is no JSON', details, { cause: error });
  }
  if (isRecord(parsed)) return parsed;
  throw new CniError('DECODE_FAILURE', 'network configuration on stdin is no JSON object');
}

function parseVersion(value: unknown): CniVersion {
  const found = supportedVersions.find((version) => version === value);
  if (found) return found;
  // The specification reads an absent version as 0.1.0.
  const text = value === undefined ? '(absent, means 0.1.0)' : JSON.stringify(value);
  const supported = supportedVersions.join(', ');
  throw new CniError('INCOMPATIBLE_VERSION', `cniVersion ${text} is not supported: use one of ${supported}`);
}

function environmentError(name: string, value: string, what: string): CniError {
  return new CniError('INVALID_ENVIRONMENT', `${name} ${what}`, `${name}=${value}`);
}

function parseCommand(environment: Environment, version: CniVersion): CniCommand {
  const text = environment['CNI_COMMAND'] ?? '';
  if (!Object.hasOwn(commandSince, text)) {
    throw environmentError('CNI_COMMAND', text, `must be one of ${Object.keys(commandSince).join(', ')}, VERSION`);
  }
  const command = text as CniCommand;
  const since = commandSince[command];
  if (supportedVersions.indexOf(version) >= supportedVersions.indexOf(since)) return command;
  throw new CniError(
    'INCOMPATIBLE_VERSION',
    `${command} is not part of CNI ${version}: use cniVersion ${since} or later`,
  );
}

function parseContainerId(text: string): string {
  if (text === '') throw environmentError('CNI_CONTAINERID', text, 'is required');
  if (!namePattern.test(text)) {
    throw environmentError(
      'CNI_CONTAINERID',
      text,
      'must begin with a letter or digit, then letters, digits, "_", "." or "-"',
    );
  }
  if (text.length <= CONTAINER_ID_BYTES_MAX) return text;
  throw environmentError('CNI_CONTAINERID', text, `must not be longer than ${CONTAINER_ID_BYTES_MAX} bytes`);
}

/** The kernel's rules for interface names (dev_valid_name). */
function parseIfName(text: string): string {
  if (text === '') throw environmentError('CNI_IFNAME', text, 'is required');
  if (Buffer.byteLength(text) > IFNAME_BYTES_MAX) {
    throw environmentError('CNI_IFNAME', text, `must not be longer than ${IFNAME_BYTES_MAX} bytes`);
  }
  if (text === '.' || text === '..' || /[/:\s\0]/.test(text)) {
    throw environmentError('CNI_IFNAME', text, 'must not be "." or "..", nor hold "/", ":" or blanks');
  }
  return text;
}

function parsePod(args: string): PodReference {
  const values = new Map<string, string>();
  for (const pair of args.split(';')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    if (at <= 0)
      throw environmentError('CNI_ARGS', args, `must be KEY=VALUE pairs with ";" between them, and "${pair}" is none`);
    values.set(pair.slice(0, at), pair.slice(at + 1));
  }
  const part = (key: string): string => {
    const value = values.get(key) ?? '';
    if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(value)) return value;
    throw environmentError('CNI_ARGS', args, `must name the pod: ${key} is ${value === '' ? 'absent' : `"${value}"`}`);
  };
  const namespace = part('K8S_POD_NAMESPACE');
  const name = part('K8S_POD_NAME');
  const uid = values.get('K8S_POD_UID');
  return { key: objectKey({ namespace, name }), namespace, name, ...(uid ? { uid } : {}) };
}

function configError(key: string, value: unknown, what: string): CniError {
  const text = JSON.stringify(value) ?? '(absent)';
  return new CniError('INVALID_CONFIG', `network configuration: "${key}" ${what}`, `${key}: ${text.slice(0, 200)}`);
}

/** Keys that are not ours (capabilities, runtimeConfig, args, ipam, those of later versions) are other people's and pass. */
function parseConfig(raw: Readonly<Record<string, unknown>>): NetworkConfig {
  const { name, type, mtu, dns, prevResult } = raw as Readonly<
    Record<'name' | 'type' | 'mtu' | 'dns' | 'prevResult', unknown>
  >;
  if (typeof name !== 'string' || !namePattern.test(name)) {
    throw configError('name', name, 'must begin with a letter or digit, then letters, digits, "_", "." or "-"');
  }
  if (typeof type !== 'string' || type === '') throw configError('type', type, 'must name the plugin');
  if (mtu !== undefined && (typeof mtu !== 'number' || !Number.isInteger(mtu) || mtu < MTU_MIN || mtu > MTU_MAX)) {
    throw configError('mtu', mtu, `must be a whole number of bytes from ${MTU_MIN} to ${MTU_MAX}`);
  }
  if (dns !== undefined && !isRecord(dns)) throw configError('dns', dns, 'must be an object');
  if (prevResult !== undefined && prevResult !== null && !isRecord(prevResult)) {
    throw configError('prevResult', prevResult, 'must be the result of an ADD');
  }
  for (const key of ['interfaces', 'ips', 'routes'] as const) {
    const list = isRecord(prevResult) ? prevResult[key] : undefined;
    if (list !== undefined && list !== null && !Array.isArray(list))
      throw configError(`prevResult.${key}`, list, 'must be a list');
  }
  return {
    name,
    ...(typeof mtu === 'number' ? { mtu } : {}),
    ...(isRecord(dns) ? { dns } : {}),
    ...(isRecord(prevResult) ? { prevResult } : {}),
  };
}

/**
 * What the runtime still knows. An absent list is an error, never "nothing": it would cut every pod off. libcni wrote the key without
 * "valid-" before the specification was final, and writes both today.
 */
function parseValidAttachments(raw: Readonly<Record<string, unknown>>): readonly Attachment[] {
  const key = 'cni.dev/valid-attachments';
  const list = raw[key] ?? raw['cni.dev/attachments'];
  if (!Array.isArray(list)) throw configError(key, list, 'must list the attachments to keep');
  return list.map((entry: unknown) => {
    const { containerID, ifname } = isRecord(entry)
      ? (entry as Readonly<Record<'containerID' | 'ifname', unknown>>)
      : {};
    if (typeof containerID !== 'string' || typeof ifname !== 'string') {
      throw configError(key, entry, 'must hold objects with "containerID" and "ifname"');
    }
    return { containerId: containerID, ifName: ifname };
  });
}
