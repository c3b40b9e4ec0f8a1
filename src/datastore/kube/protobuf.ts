/**
 * Watch events of Pod, Node and Namespace in Kubernetes' protobuf, read into what their JSON would give, but for the fields
 * that mean nothing here: those are skipped by their length, managedFields and containers' environment above all. A pod costs
 * a quarter of what JSON.parse takes, and the API server encodes what it has cached for kubelets already.
 *
 * Field numbers: k8s.io/api/core/v1/generated.proto, k8s.io/apimachinery/pkg/apis/meta/v1 and pkg/runtime. Those are stable by
 * the API's promise. A field that is absent in JSON is empty here, and is left out.
 */
import { isKeptAnnotation } from '../manifest/metadata.ts';
import type { RawEvent } from './event-reader.ts';
import type { RawObject } from './raw-object.ts';

/** Asks for it, and for JSON from who cannot. */
export const protobufWatchTypes =
  'application/vnd.kubernetes.protobuf;stream=watch,application/json;stream=watch;q=0.9';
export function isProtobuf(contentType: string | undefined): boolean {
  return contentType?.startsWith('application/vnd.kubernetes.protobuf') ?? false;
}

/** Kinds that can be read here. */
export const protobufKinds: ReadonlySet<string> = new Set(['Pod', 'Node', 'Namespace']);

/** Before a serialized object: "k8s" and a zero byte. */
const magic = 0x6b387300;

/** Undefined when it is none: cut, garbage, or of a kind that is not read here. */
export function parseProtobufEvent(bytes: Buffer): RawEvent | undefined {
  try {
    return readEvent(bytes);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** The object of an answer that is no stream: a Status, for a refusal. Undefined as above. */
export function parseProtobufObject(bytes: Buffer): object | undefined {
  try {
    return readUnknown(new Cursor(bytes), bytes.length);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

class WireError extends Error {}

/** A cursor over the fields of one message; nested ones move the same cursor. */
class Cursor {
  readonly bytes: Buffer;
  at: number;
  end: number;
  /** Wire type of the field that `next` found. */
  wire = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.at = 0;
    this.end = bytes.length;
  }

  /** Number of the next field of the message that ends at `end`, whose value must be read or skipped; 0 at the end. */
  next(end: number): number {
    if (this.at >= end) {
      if (this.at > end) throw new WireError();
      return 0;
    }
    const tag = this.varint();
    this.wire = tag & 7;
    if (tag < 8) throw new WireError();
    return tag >>> 3;
  }

  /** Up to 32 bits; higher ones, of negative numbers, are dropped. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw new WireError();
      const byte = this.bytes[this.at++]!;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new WireError();
  }

  /** Where the length-delimited value that begins here ends. */
  length(): number {
    if (this.wire !== 2) throw new WireError();
    const length = this.varint();
    const end = this.at + length;
    if (end > this.end) throw new WireError();
    return end;
  }

  text(): string {
    const end = this.length();
    const text = this.bytes.toString('utf8', this.at, end);
    this.at = end;
    return text;
  }

  skip(): void {
    if (this.wire === 2) this.at = this.length();
    else if (this.wire === 0) this.varint();
    else if (this.wire === 1) this.at += 8;
    else if (this.wire === 5) this.at += 4;
    else throw new WireError();
    if (this.at > this.end) throw new WireError();
  }
}

/** metav1.WatchEvent: type = 1, object = 2 (RawExtension: raw = 1). */
function readEvent(bytes: Buffer): RawEvent | undefined {
  const cursor = new Cursor(bytes);
  let type = '';
  let object: object | undefined;
  for (let field = cursor.next(bytes.length); field !== 0; field = cursor.next(bytes.length)) {
    if (field === 1) type = cursor.text();
    else if (field === 2) object = readExtension(cursor, cursor.length());
    else cursor.skip();
  }
  return type && object ? { type, object } : undefined;
}

function readExtension(cursor: Cursor, end: number): object | undefined {
  let object: object | undefined;
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) object = readUnknown(cursor, cursor.length());
    else cursor.skip();
  }
  return object;
}

/** runtime.Unknown: typeMeta = 1 (apiVersion = 1, kind = 2), raw = 2. */
function readUnknown(cursor: Cursor, end: number): object | undefined {
  if (end - cursor.at < 4 || cursor.bytes.readUInt32BE(cursor.at) !== magic) throw new WireError();
  cursor.at += 4;
  let apiVersion = '';
  let kind = '';
  let object: object | undefined;
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) {
      const meta = readTexts(cursor, cursor.length(), ['apiVersion', 'kind']);
      apiVersion = meta['apiVersion'] ?? '';
      kind = meta['kind'] ?? '';
    } else if (field === 2) {
      const rawEnd = cursor.length();
      if (kind === 'Status') object = readStatus(cursor, rawEnd);
      else if (protobufKinds.has(kind)) object = readObject(cursor, rawEnd, apiVersion, kind);
      cursor.at = rawEnd;
    } else cursor.skip();
  }
  return object;
}

/** metadata = 1, spec = 2, status = 3. */
function readObject(cursor: Cursor, end: number, apiVersion: string, kind: string): RawObject {
  let metadata: RawObject['metadata'] = { name: '' };
  let spec: object | undefined;
  let status: object | undefined;
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) metadata = readMetadata(cursor, cursor.length());
    else if (field === 2 && kind === 'Pod') spec = readPodSpec(cursor, cursor.length());
    else if (field === 2 && kind === 'Node') spec = readNodeSpec(cursor, cursor.length());
    else if (field === 3 && kind === 'Pod') status = readPodStatus(cursor, cursor.length());
    else if (field === 3 && kind === 'Node') status = readNodeStatus(cursor, cursor.length());
    else cursor.skip();
  }
  return { apiVersion, kind, metadata, spec, status };
}

function readMetadata(cursor: Cursor, end: number): RawObject['metadata'] {
  const metadata: Record<string, unknown> & { name: string } = { name: '' };
  let labels: Record<string, string> | undefined;
  let annotations: Record<string, string> | undefined;
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    switch (field) {
      case 1:
        metadata.name = cursor.text();
        break;
      case 3:
        setText(metadata, 'namespace', cursor.text());
        break;
      case 5:
        setText(metadata, 'uid', cursor.text());
        break;
      case 6:
        setText(metadata, 'resourceVersion', cursor.text());
        break;
      case 9:
        metadata['deletionTimestamp'] = true;
        cursor.skip();
        break;
      case 11:
        labels ??= {};
        readMapEntry(cursor, cursor.length(), labels);
        break;
      case 12:
        annotations ??= {};
        readMapEntry(cursor, cursor.length(), annotations, isWanted);
        break;
      default:
        cursor.skip();
    }
  }
  if (labels) metadata['labels'] = labels;
  if (annotations) metadata['annotations'] = annotations;
  return metadata as RawObject['metadata'];
}

function setText(fields: Record<string, unknown>, name: string, text: string): void {
  if (text !== '') fields[name] = text;
}

/** Those that are kept, and the mark of a list's end. */
function isWanted(annotation: string): boolean {
  return isKeptAnnotation(annotation) || annotation.startsWith('k8s.io/');
}

/** The key comes before the value. */
function readMapEntry(
  cursor: Cursor,
  end: number,
  into: Record<string, string>,
  wanted: (key: string) => boolean = () => true,
): void {
  let key = '';
  let value = '';
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) {
      key = cursor.text();
      if (wanted(key)) continue;
      cursor.at = end;
      return;
    }
    if (field === 2) value = cursor.text();
    else cursor.skip();
  }
  into[key] = value;
}

/** containers = 2, serviceAccountName = 8, nodeName = 10, hostNetwork = 11, initContainers = 20. */
function readPodSpec(cursor: Cursor, end: number): object {
  const spec: Record<string, unknown> = {};
  const containers: object[] = [];
  const initContainers: object[] = [];
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 2) containers.push(readContainer(cursor, cursor.length()));
    else if (field === 20) initContainers.push(readContainer(cursor, cursor.length()));
    else if (field === 8) setText(spec, 'serviceAccountName', cursor.text());
    else if (field === 10) setText(spec, 'nodeName', cursor.text());
    else if (field === 11 && cursor.wire === 0) spec['hostNetwork'] = cursor.varint() !== 0;
    else cursor.skip();
  }
  return { ...spec, containers, initContainers };
}

/** ports = 6 (name = 1, containerPort = 3, protocol = 4), restartPolicy = 24. */
function readContainer(cursor: Cursor, end: number): object {
  let ports: object[] | undefined;
  let restartPolicy: string | undefined;
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 6) {
      ports ??= [];
      ports.push(readPort(cursor, cursor.length()));
    } else if (field === 24) restartPolicy = cursor.text();
    else cursor.skip();
  }
  return { ports, restartPolicy };
}

function readPort(cursor: Cursor, end: number): object {
  const port: Record<string, unknown> = {};
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) setText(port, 'name', cursor.text());
    else if (field === 3 && cursor.wire === 0) port['containerPort'] = cursor.varint();
    else if (field === 4) setText(port, 'protocol', cursor.text());
    else cursor.skip();
  }
  return port;
}

/** phase = 1, podIP = 6, podIPs = 12 (ip = 1). */
function readPodStatus(cursor: Cursor, end: number): object {
  const status: Record<string, unknown> = {};
  let podIPs: object[] | undefined;
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) setText(status, 'phase', cursor.text());
    else if (field === 6) setText(status, 'podIP', cursor.text());
    else if (field === 12) {
      podIPs ??= [];
      podIPs.push(readTexts(cursor, cursor.length(), ['ip']));
    } else cursor.skip();
  }
  return { ...status, podIPs };
}

/** podCIDR = 1, podCIDRs = 7. */
function readNodeSpec(cursor: Cursor, end: number): object {
  const spec: Record<string, unknown> = {};
  const podCIDRs: string[] = [];
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 1) setText(spec, 'podCIDR', cursor.text());
    else if (field === 7) podCIDRs.push(cursor.text());
    else cursor.skip();
  }
  return { ...spec, podCIDRs };
}

/** conditions = 4 (type = 1, status = 2), addresses = 5 (type = 1, address = 2). */
function readNodeStatus(cursor: Cursor, end: number): object {
  const conditions: object[] = [];
  const addresses: object[] = [];
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 4) conditions.push(readTexts(cursor, cursor.length(), ['type', 'status']));
    else if (field === 5) addresses.push(readTexts(cursor, cursor.length(), ['type', 'address']));
    else cursor.skip();
  }
  return { conditions, addresses };
}

/** A message of which only the texts of the first fields count, named in the order of their numbers. */
function readTexts(cursor: Cursor, end: number, names: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    const name = names[field - 1];
    if (name === undefined) cursor.skip();
    else setText(out, name, cursor.text());
  }
  return out;
}

/** metav1.Status: message = 3, reason = 4, details = 5 (causes = 4: reason = 1), code = 6. */
function readStatus(cursor: Cursor, end: number): object {
  const status: Record<string, unknown> = {};
  const causes: object[] = [];
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 3) setText(status, 'message', cursor.text());
    else if (field === 4) setText(status, 'reason', cursor.text());
    else if (field === 6 && cursor.wire === 0) status['code'] = cursor.varint();
    else if (field === 5) readCauses(cursor, cursor.length(), causes);
    else cursor.skip();
  }
  return { ...status, ...(causes.length > 0 ? { details: { causes } } : {}) };
}

function readCauses(cursor: Cursor, end: number, into: object[]): void {
  for (let field = cursor.next(end); field !== 0; field = cursor.next(end)) {
    if (field === 4) into.push(readTexts(cursor, cursor.length(), ['reason']));
    else cursor.skip();
  }
}
