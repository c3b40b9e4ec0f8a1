/** Against what a kube-apiserver v1.36.3 sent for the same objects in protobuf and in JSON (test/fixtures/kube). */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { eventReader, type RawEvent } from './event-reader.ts';
import { Interner } from './intern.ts';
import { outcomeOfErrorEvent } from './outcome.ts';
import { projectNamespace, projectNode, projectPod } from './project.ts';
import { parseProtobufEvent, parseProtobufObject } from './protobuf.ts';
import type { RawObject } from './raw-object.ts';

const projections = { pods: projectPod, nodes: projectNode, namespaces: projectNamespace };
type Name = keyof typeof projections;
const file = path.join(import.meta.dirname, '../../../test/fixtures/kube/watch-events.json');
const recorded = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<Name, { protobuf: string; json: RawEvent[] }> & {
  expired: { protobuf: string };
};

function eventsOf(protobuf: string): RawEvent[] {
  const reader = eventReader('application/vnd.kubernetes.protobuf;stream=watch');
  reader.push(Buffer.from(protobuf, 'base64'));
  const out: RawEvent[] = [];
  for (let next = reader.next(); next; next = reader.next()) {
    assert.ok(next.type === 'event' && next.event);
    out.push(next.event);
  }
  assert.equal(reader.pendingBytes, 0);
  return out;
}

for (const name of Object.keys(projections) as Name[]) {
  test(`${name}: protobuf gives what JSON gives`, () => {
    const fromProtobuf = eventsOf(recorded[name].protobuf);
    const { json } = recorded[name];
    assert.ok(json.length >= 2);
    assert.deepEqual(
      fromProtobuf.map(({ type, object }) => [type, object.metadata?.name]),
      json.map(({ type, object }) => [type, object.metadata?.name ?? '']),
    );
    for (const [index, { type, object }] of json.entries()) {
      const other = fromProtobuf[index]!.object;
      if (type === 'BOOKMARK') {
        assert.deepEqual(other.metadata?.annotations, object.metadata?.annotations);
        assert.match(other.metadata?.resourceVersion ?? '', /^\d+$/);
        continue;
      }
      assert.equal(other.metadata?.resourceVersion, object.metadata?.resourceVersion);
      const expected = projections[name](object as RawObject, new Interner());
      assert.ok(expected);
      assert.deepEqual(projections[name](other as RawObject, new Interner()), expected);
      assert.deepEqual([other.apiVersion, other.kind], [object.apiVersion, object.kind]);
    }
  });
}

test('the recorded pods hold every field that counts', () => {
  const [rich, host] = ['rich', 'host'].map((name) => {
    const { object } = eventsOf(recorded.pods.protobuf).find((event) => event.object.metadata?.name === name)!;
    return projectPod(object as RawObject, new Interner())!;
  });
  assert.deepEqual(
    { ...rich, metadata: { ...rich!.metadata, uid: '' } },
    {
      metadata: {
        name: 'rich',
        namespace: 'web',
        uid: '',
        labels: { app: 'web', tier: '' },
        annotations: { 'kubernetes.io/config.hash': 'abc' },
      },
      nodeName: 'n1',
      hostNetwork: false,
      serviceAccountName: 'robot',
      ports: [
        { name: 'http', containerPort: 8080, protocol: 'TCP' },
        { name: 'dns', containerPort: 53, protocol: 'UDP' },
        { name: 'proxy', containerPort: 15001, protocol: 'TCP' },
      ],
      phase: 'Running',
      terminating: true,
      podIPs: ['10.1.0.5', 'fd00:1::5'],
    },
  );
  assert.equal(host!.hostNetwork, true);
  assert.equal(host!.terminating, false);
});

test('a refused watch says why: its Status, as the API server sent it', () => {
  const text = (field: number, value: string): Buffer => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([(field << 3) | 2, bytes.length]), bytes]);
  };
  const status = Buffer.concat([
    text(1, ''),
    text(2, 'Failure'),
    text(3, 'pods is forbidden: User "u" cannot watch resource "pods"'),
    text(4, 'Forbidden'),
    // code = 6: 403
    Buffer.from([0x30, 0x93, 0x03]),
  ]);
  const raw = Buffer.concat([Buffer.from([0x12, status.length]), status]);
  const meta = text(1, `${text(1, 'v1')}${text(2, 'Status')}`);
  const bytes = Buffer.concat([Buffer.from('k8s\0'), meta, raw]);
  assert.deepEqual(parseProtobufObject(bytes), {
    message: 'pods is forbidden: User "u" cannot watch resource "pods"',
    reason: 'Forbidden',
    code: 403,
  });
  assert.equal(parseProtobufObject(bytes.subarray(0, -20)), undefined);
});

test('an error event says that the watch expired', () => {
  const [event] = eventsOf(recorded.expired.protobuf);
  assert.equal(event?.type, 'ERROR');
  assert.deepEqual(outcomeOfErrorEvent(event!.object), { type: 'expired' });
});

test('bytes that are damaged are an event or none, and never an exception', () => {
  const reader = Buffer.from(recorded.pods.protobuf, 'base64');
  const first = reader.subarray(4, 4 + reader.readUInt32BE(0));
  for (let length = 0; length < first.length; length++)
    assert.equal(parseProtobufEvent(first.subarray(0, length)), undefined);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(first.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      (damage) => {
        const bytes = Buffer.from(first);
        for (const [at, byte] of damage) bytes[at] = byte;
        const event = parseProtobufEvent(bytes);
        // Whatever it is, the projection takes it or leaves it to the decoder.
        if (event?.object.metadata) projectPod(event.object as RawObject, new Interner());
      },
    ),
    { numRuns: 5_000 },
  );
});
