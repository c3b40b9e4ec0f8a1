import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TcpAoKey } from '#bgp';
import { silentLogger } from '#kit';
import { type AoSubject, SysError } from '#sys';
import { aoSubject, rekeyConnection, signAccepted, signDialled } from './ao-keys.ts';
import { type KeySystem, ListenerKeys } from './listener-keys.ts';

const EEXIST = 17;
const ENOENT = 2;
const EBUSY = 16;
const EKEYREJECTED = 129;

const key = (id: number, more: Partial<TcpAoKey> = {}): TcpAoKey => ({
  sendId: id,
  recvId: id + 100,
  algorithm: 'hmac-sha-1-96',
  secret: `secret ${id}`,
  ...more,
});
const [one, two, three] = [key(1), key(2), key(3)];

/** One socket as net/ipv4/tcp_ao.c treats it, for subjects that are equal or do not overlap. */
class Kernel implements KeySystem {
  keys: { readonly subject: string; readonly key: TcpAoKey }[] = [];
  readonly md5 = new Map<string, string>();
  current: TcpAoKey | undefined;
  rnext: TcpAoKey | undefined;
  signed = true;
  readonly calls: string[] = [];

  add(_fd: number, subject: AoSubject, added: TcpAoKey, use: boolean): void {
    this.calls.push(`add ${added.sendId}`);
    const name = JSON.stringify(subject);
    const overlaps = this.keys.some(
      ({ subject: other, key: { sendId, recvId } }) =>
        other === name && (sendId === added.sendId || recvId === added.recvId),
    );
    if (this.md5.has(subject.address)) throw new SysError('add', EKEYREJECTED);
    if (overlaps) throw new SysError('add', EEXIST);
    this.keys.push({ subject: name, key: added });
    if (use) {
      this.current = added;
      this.rnext = added;
    }
  }
  remove(_fd: number, subject: AoSubject, gone: TcpAoKey, instead: TcpAoKey): void {
    const index = this.#find(subject, gone);
    if (this.current === gone) this.current = instead;
    if (this.rnext === gone) throw new SysError('remove', EBUSY);
    this.keys.splice(index, 1);
    this.calls.push(`remove ${gone.sendId}`);
  }
  removeFromListener(_fd: number, subject: AoSubject, gone: TcpAoKey): void {
    this.keys.splice(this.#find(subject, gone), 1);
    this.calls.push(`remove ${gone.sendId}`);
  }
  #find(subject: AoSubject, { sendId, recvId }: TcpAoKey): number {
    const name = JSON.stringify(subject);
    const index = this.keys.findIndex(
      (each) => each.subject === name && each.key.sendId === sendId && each.key.recvId === recvId,
    );
    if (index < 0) throw new SysError('remove', ENOENT);
    return index;
  }
  request(_fd: number, recvId: number): void {
    this.rnext = this.keys.find((each) => each.key.recvId === recvId)?.key;
    if (!this.rnext) throw new SysError('request', ENOENT);
    this.calls.push(`request ${recvId}`);
  }
  state(): { current: number | undefined; rnext: number | undefined } | undefined {
    return this.signed ? { current: this.current?.sendId, rnext: this.rnext?.recvId } : undefined;
  }
  setMd5Key(_fd: number, peer: string, text: string | undefined): void {
    if (text === undefined) this.md5.delete(peer);
    else if (this.keys.some(({ subject }) => subject.includes(peer))) throw new SysError('md5', EKEYREJECTED);
    else this.md5.set(peer, text);
    this.calls.push(`md5 ${text ?? 'gone'}`);
  }
  ids(): number[] {
    return this.keys.map((each) => each.key.sendId);
  }
}

const subject = aoSubject('10.0.0.2');

test('RFC 5925 7.2: a connection that we open has all keys and begins with the first', () => {
  const kernel = new Kernel();
  signDialled(1, { subject, keys: [two, one] }, kernel);
  assert.deepEqual([kernel.ids(), kernel.state()], [[2, 1], { current: 2, rnext: 102 }]);
});

test('RFC 5925 6.1: keys change without a moment at which the ends have none in common', () => {
  const kernel = new Kernel();
  signDialled(1, { subject, keys: [one] }, kernel);
  const step = (before: TcpAoKey[], after: TcpAoKey[]): unknown => {
    kernel.calls.length = 0;
    return [rekeyConnection(1, { subject, keys: before }, after, kernel), kernel.calls, kernel.state()];
  };
  const inUse = (current: number, rnext: number) => ({ current, rnext });
  assert.deepEqual(step([one], [one, two]), [true, ['add 2', 'request 101'], inUse(1, 101)]);
  assert.deepEqual(step([one, two], [two, one]), [true, ['request 102'], inUse(1, 102)], 'the peer decides when');
  kernel.current = two;
  assert.deepEqual(step([two, one], [two]), [true, ['request 102', 'remove 1'], inUse(2, 102)]);
  assert.deepEqual(step([two], [three]), [true, ['add 3', 'request 103', 'remove 2'], inUse(3, 103)]);
});

test('RFC 5925 3.1: other bytes, another algorithm or half of the ids of a key that is there take a new connection', () => {
  for (const changed of [
    key(1, { secret: 'other' }),
    key(1, { algorithm: 'aes-128-cmac-96' }),
    key(1, { excludeTcpOptions: true }),
    key(1, { recvId: 9 }),
  ]) {
    const kernel = new Kernel();
    signDialled(1, { subject, keys: [one] }, kernel);
    assert.equal(rekeyConnection(1, { subject, keys: [one] }, [changed], kernel), false);
    assert.deepEqual(kernel.ids(), [1], 'nothing was touched');
  }
  const same = new Kernel();
  signDialled(1, { subject, keys: [one] }, same);
  assert.equal(rekeyConnection(1, { subject, keys: [one] }, [key(1, { excludeTcpOptions: false })], same), true);
  assert.equal(rekeyConnection(1, { subject, keys: [one] }, [two], new Kernel()), false, 'the kernel refuses');
});

test('RFC 5925 7.3: an accepted connection must be signed with a key that counts; then it has all keys and asks for the first', () => {
  const range = aoSubject('10.0.0.0/8');
  const kernel = new Kernel();
  kernel.add(1, range, one, true);
  assert.equal(signAccepted(1, { subject: range, keys: [two, one] }, kernel), undefined);
  assert.deepEqual([kernel.ids(), kernel.state()], [[1, 2], { current: 1, rnext: 102 }]);
  assert.match(signAccepted(1, { subject: range, keys: [two] }, kernel)!, /counts no more/);
  kernel.signed = false;
  assert.match(signAccepted(1, { subject: range, keys: [one] }, kernel)!, /not signed/);
});

const none = { md5: new Map<string, string>(), ao: new Map<string, readonly TcpAoKey[]>() };
const ao = (...keys: TcpAoKey[]) => ({ ...none, ao: new Map([['10.0.0.2', keys]]) });
const md5 = (text: string) => ({ ...none, md5: new Map([['10.0.0.2', text]]) });

test('RFC 5925, RFC 2385: a listener has the keys that it is told, of one kind, whatever it had', () => {
  const kernel = new Kernel();
  const listener = new ListenerKeys(1, silentLogger, kernel);
  const steps = [none, ao(one), ao(one, two), md5('a'), md5('b'), ao(key(1, { secret: 'x' })), ao(two, one), none];
  for (const wanted of [...steps, ...steps.toReversed(), ...steps]) {
    listener.sync(wanted);
    const keys = wanted.ao.get('10.0.0.2') ?? [];
    assert.deepEqual(
      [kernel.ids().sort(), [...kernel.md5]],
      [keys.map(({ sendId }) => sendId).sort(), [...wanted.md5]],
    );
    assert.ok(keys.every(({ secret }) => kernel.keys.some((each) => each.key.secret === secret)));
    assert.equal(listener.isKeyless('10.0.0.2'), false);
  }
  kernel.calls.length = 0;
  listener.sync(none);
  assert.deepEqual(kernel.calls, []);
});

test('RFC 5925: whose keys cannot all be set on the listener is keyless, until they can', () => {
  const kernel = new Kernel();
  const listener = new ListenerKeys(1, silentLogger, kernel);
  kernel.add(1, subject, key(2, { secret: 'of another' }), false);
  listener.sync(ao(one, two));
  assert.deepEqual([kernel.ids(), listener.isKeyless('10.0.0.2')], [[2, 1], true]);
  kernel.keys.shift();
  listener.sync(ao(one, two));
  assert.deepEqual([kernel.ids(), listener.isKeyless('10.0.0.2')], [[1, 2], false]);
});
