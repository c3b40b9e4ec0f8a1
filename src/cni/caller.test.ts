import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '#kit';
import { type Call, type CallAnswer, serveCaller } from './caller.ts';
import type { Descriptor, ShimTransport, WatchEvents } from './ports.ts';
import { decodeRequest, encodeAnswer, REQUEST_BYTES_MAX, RequestReader } from './protocol.ts';

const EAGAIN = 11;
const limits = { requestWaitMs: 1000, answerWaitMs: 1000 };

class FakeDescriptor implements Descriptor {
  closed = false;
  readonly number = 1;
  take(): number {
    this.closed = true;
    return 1;
  }
  close(): void {
    this.closed = true;
  }
}

/** The far end of a connection: what it sends, what it has got, how much of an answer the socket takes at once. */
class FakePeer {
  readonly got: Buffer[] = [];
  takes = Number.POSITIVE_INFINITY;
  readonly descriptor = new FakeDescriptor();
  #incoming: { data: Buffer; descriptors: Descriptor[] }[] = [];
  #onReady: ((status: number, events: WatchEvents) => void) | undefined;
  #closed = false;

  readonly transport: ShimTransport = {
    listen: () => assert.fail(),
    watch: (_fd, _events, onReady) => {
      this.#onReady = onReady;
      return {
        restart: () => undefined,
        close: () => {
          this.#onReady = undefined;
        },
      };
    },
    receive: () => {
      const next = this.#incoming.shift();
      if (next) return { result: next.data.length, ...next, truncated: false };
      return { result: this.#closed ? 0 : -EAGAIN, data: Buffer.alloc(0), descriptors: [], truncated: false };
    },
    send: (_fd, bytes) => {
      const taken = Math.min(bytes.length, this.takes);
      if (taken === 0) return -EAGAIN;
      this.got.push(Buffer.from(bytes.subarray(0, taken)));
      return taken;
    },
  };
  send(data: Buffer, descriptors: Descriptor[] = []): void {
    this.#incoming.push({ data, descriptors });
    this.#onReady?.(0, { readable: true });
  }
  hangUp(): void {
    this.#closed = true;
    this.#onReady?.(0, { readable: true, disconnect: true });
  }
  writable(): void {
    this.#onReady?.(0, { writable: true });
  }
  get received(): Buffer {
    return Buffer.concat(this.got);
  }
}

function requestBytes(environment: string, stdin: string): Buffer {
  const body = Buffer.from(`${environment}\0\0${stdin}`);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

const turn = () => new Promise(setImmediate);

test('a request in any pieces is the same request', () => {
  const whole = requestBytes('CNI_COMMAND=ADD\0CNI_ARGS=a=b', '{"x":"ü\0"}');
  fc.assert(
    fc.property(fc.array(fc.nat(whole.length), { maxLength: 6 }), (cuts) => {
      const reader = new RequestReader();
      let from = 0;
      for (const to of [...cuts.sort((a, b) => a - b), whole.length]) {
        const done = to === from ? false : reader.push(whole.subarray(from, to));
        if (to > from) assert.equal(done, to === whole.length);
        from = to;
      }
      assert.deepEqual(decodeRequest(reader.body()), {
        environment: { CNI_COMMAND: 'ADD', CNI_ARGS: 'a=b' },
        stdin: '{"x":"ü\0"}',
      });
    }),
  );
  assert.throws(() => new RequestReader().push(Buffer.concat([whole, Buffer.from('x')])), RangeError);
  const long = Buffer.alloc(4);
  long.writeUInt32LE(REQUEST_BYTES_MAX + 1);
  assert.throws(() => new RequestReader().push(long), RangeError);
  assert.equal(decodeRequest(Buffer.from('no end')), undefined);
});

async function serve(
  peer: FakePeer,
  answer: (call: Call) => Promise<CallAnswer>,
  clock = new FakeClock(),
): Promise<void> {
  await serveCaller({ transport: peer.transport, clock }, peer.descriptor, limits, answer);
}

test('an answer that the socket takes in pieces arrives whole, and counts once the caller says so', async () => {
  const peer = new FakePeer();
  peer.takes = 3;
  let undone = 0;
  const passed = [new FakeDescriptor(), new FakeDescriptor()];
  const served = serve(peer, async ({ descriptors }) => {
    assert.equal(descriptors.length, 2);
    return { exitCode: 1, stdout: 'a long answer', undo: async () => void undone++ };
  });
  peer.send(requestBytes('A=1', ''), passed);
  await turn();
  const expected = encodeAnswer(1, 'a long answer');
  while (peer.received.length < expected.length) peer.writable();
  peer.send(Buffer.from([0]));
  await served;
  assert.deepEqual(peer.received, expected);
  assert.deepEqual([undone, peer.descriptor.closed, passed.every((fd) => fd.closed)], [0, true, true]);
});

test('a caller that goes: before, during and after the answer it is undone; the signal tells', async () => {
  for (const when of ['working', 'answering', 'answered without receipt'] as const) {
    const peer = new FakePeer();
    if (when === 'answering') peer.takes = 1;
    let undone = 0;
    let aborted = false;
    const work = Promise.withResolvers<void>();
    const served = serve(peer, async ({ caller }) => {
      caller.addEventListener('abort', () => {
        aborted = true;
      });
      await work.promise;
      return { exitCode: 0, stdout: 'answer', undo: async () => void undone++ };
    });
    peer.send(requestBytes('A=1', ''));
    await turn();
    if (when === 'working') peer.hangUp();
    assert.equal(aborted, when === 'working');
    work.resolve();
    await turn();
    if (when !== 'working') peer.hangUp();
    await served;
    assert.deepEqual([undone, peer.descriptor.closed], [1, true], when);
  }
});

test('rubbish, silence and too many descriptors end the call without asking anybody', async () => {
  const never = async (): Promise<CallAnswer> => assert.fail('asked');
  const clock = new FakeClock();
  const silent = new FakePeer();
  const served = serve(silent, never, clock);
  clock.advance(limits.requestWaitMs);
  await served;
  assert.ok(silent.descriptor.closed);
  for (const [bytes, descriptors] of [
    [Buffer.from([255, 255, 255, 255]), 0],
    [Buffer.from([1, 0, 0, 0, 65]), 0],
    [requestBytes('A=1', ''), 3],
  ] as const) {
    const peer = new FakePeer();
    const passed = Array.from({ length: descriptors }, () => new FakeDescriptor());
    const call = serve(peer, never);
    peer.send(bytes, passed);
    await call;
    assert.ok(peer.descriptor.closed && passed.every((fd) => fd.closed));
  }
});

test('a caller that does not take its answer is given up', async () => {
  const clock = new FakeClock();
  const peer = new FakePeer();
  peer.takes = 0;
  let undone = 0;
  const served = serve(peer, async () => ({ exitCode: 0, stdout: 'x', undo: async () => void undone++ }), clock);
  peer.send(requestBytes('A=1', ''));
  await turn();
  clock.advance(limits.answerWaitMs);
  await served;
  assert.equal(undone, 1);
});
