/** Of the stand-alone speaker's file: what signs a session, `password` (TCP-MD5) or `tcpAO` (TCP-AO). */
import { isMap, type Node } from 'yaml';
import {
  type SessionKeys,
  type TcpAoAlgorithm,
  type TcpAoKey,
  tcpAoAlgorithms,
  tcpAoKeysFault,
  tcpAoSecretBytesMax,
} from '#bgp';
import { asBoolean, asInteger, asText, Fields, fail, listOf, optionalKey, type Source } from './speaker-file-yaml.ts';

const passwordBytesMax = 80;
const keyIdMax = 255;

export function keysOf(source: Source, node: Node | null, fields: Fields): SessionKeys {
  const password = fields.optional('password', asPassword);
  const tcpAo = fields.optional('tcpAO', asTcpAo);
  if (password !== undefined && tcpAo !== undefined) {
    fail(source, node, 'password (TCP-MD5) stands beside tcpAO; keep one of them');
  }
  return { ...optionalKey('password', password), ...optionalKey('tcpAo', tcpAo) };
}

function asPassword(source: Source, node: Node | null): string {
  return asSecret(source, node, 'password', passwordBytesMax);
}

function asTcpAo(source: Source, node: Node | null): TcpAoKey[] {
  const fields = new Fields(source, node, 'tcpAO');
  const keys = fields.required('keys', listOf(asKey));
  fields.done();
  const fault = tcpAoKeysFault(keys);
  if (fault !== undefined) fail(source, node, `tcpAO: ${fault}`);
  return keys;
}

function asKey(source: Source, node: Node | null): TcpAoKey {
  const fields = new Fields(source, node, 'a TCP-AO key');
  const sendId = fields.required('sendID', asInteger(0, keyIdMax, 'sendID'));
  const recvId = fields.required('recvID', asInteger(0, keyIdMax, 'recvID'));
  const algorithm = fields.required('algorithm', asAlgorithm);
  const secret = fields.required('secret', (s, n) => asSecret(s, n, 'secret', tcpAoSecretBytesMax));
  const excludeTcpOptions = fields.optional('excludeTCPOptions', asBoolean);
  fields.done();
  return { sendId, recvId, algorithm, secret, ...optionalKey('excludeTcpOptions', excludeTcpOptions) };
}

function asAlgorithm(source: Source, node: Node | null): TcpAoAlgorithm {
  const text = asText(source, node);
  const known = tcpAoAlgorithms.find((name) => name === text);
  return known ?? fail(source, node, `${text} is none of ${tcpAoAlgorithms.join(', ')}`);
}

/** Plain text, `{ value }` or `{ file }`, of which the line break at the end is no part. */
function asSecret(source: Source, node: Node | null, what: string, bytesMax: number): string {
  let text: string;
  if (isMap(node)) {
    const fields = new Fields(source, node, what);
    const value = fields.optional('value', asText);
    const file = fields.optional('file', asText);
    fields.done();
    if ((value === undefined) === (file === undefined)) fail(source, node, `${what} needs either value or file`);
    text = value ?? readSecret(source, node, what, file!);
  } else {
    text = asText(source, node);
  }
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > bytesMax) fail(source, node, `a ${what} has 1 to ${bytesMax} bytes, not ${bytes}`);
  return text;
}
function readSecret(source: Source, node: Node, what: string, file: string): string {
  try {
    return source.readFile(file).replace(/\r?\n$/, '');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    fail(source, node, `cannot read the ${what} file ${file}: ${reason}`);
  }
}
