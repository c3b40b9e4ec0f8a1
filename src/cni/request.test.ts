import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IpAddress } from '#kit';
import { CniError, errorBody, toCniError } from './errors.ts';
import { attachmentKey, hostInterfaceName, isPodInterface, namesOf } from './names.ts';
import { answerVersion, parseRequest } from './request.ts';
import { addResult, missingInResult, type WiredPod } from './result.ts';

const conf = { cniVersion: '1.1.0', name: 'poplin', type: 'poplin' };

test('whatever comes in, the answer is a request or a CniError with a code of the specification', () => {
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'a', 'eth0', '/ns', 'K8S_POD_NAMESPACE=a;K8S_POD_NAME=b'),
  );
  const environment = fc.dictionary(
    fc.constantFrom('CNI_COMMAND', 'CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_NETNS', 'CNI_ARGS', 'CNI_PATH'),
    value,
  );
  const config = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .record({
        cniVersion: fc.constantFrom('0.3.1', '1.1.0', '7'),
        name: value,
        type: value,
        mtu: fc.jsonValue(),
        prevResult: fc.jsonValue(),
      })
      .map((v) => JSON.stringify(v)),
  );
  fc.assert(
    fc.property(environment, config, (env, stdin) => {
      assert.match(answerVersion(stdin), /^(0\.3\.1|0\.4\.0|1\.0\.0|1\.1\.0)$/);
      try {
        const request = parseRequest(env, stdin);
        assert.equal(request.command, env['CNI_COMMAND']);
      } catch (error) {
        assert.ok(error instanceof CniError, String(error));
        assert.ok([1, 4, 6, 7].includes(error.cniCode));
        assert.ok(JSON.parse(errorBody('1.0.0', error)));
      }
    }),
  );
});

test('a whole ADD', () => {
  const environment = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'abc',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/run/netns/x',
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u-1;X=a=b',
  };
  assert.deepEqual(parseRequest(environment, JSON.stringify({ ...conf, mtu: 1400, unknown: 1, prevResult: null })), {
    command: 'ADD',
    version: '1.1.0',
    containerId: 'abc',
    ifName: 'eth0',
    netns: '/run/netns/x',
    pod: { key: 'ns/web-0', namespace: 'ns', name: 'web-0', uid: 'u-1' },
    config: { name: 'poplin', mtu: 1400 },
  });
});

test('GC reads both spellings of the list', () => {
  const list = [{ containerID: 'a', ifname: 'eth0', more: 1 }];
  for (const key of ['cni.dev/valid-attachments', 'cni.dev/attachments']) {
    const request = parseRequest({ CNI_COMMAND: 'GC' }, JSON.stringify({ ...conf, [key]: list }));
    assert.ok(request.command === 'GC');
    assert.deepEqual(request.validAttachments, [{ containerId: 'a', ifName: 'eth0' }]);
  }
});

test('interface names fit the kernel, are of the pod alone, differ by turn, and known as ours', () => {
  const one = namesOf(attachmentKey('abc', 'eth0'));
  assert.deepEqual(one, namesOf('abc/eth0'));
  assert.notDeepEqual(one, namesOf('abc/eth1'));
  assert.match(one.attachment, /^[0-9a-f]{11}$/);
  const names = [
    hostInterfaceName('shop/web', 'eth0', 0),
    hostInterfaceName('shop/web', 'eth0', 1),
    hostInterfaceName('shop/web', 'net1', 0),
    hostInterfaceName('shop/we', 'eth0', 0),
  ];
  assert.equal(new Set(names).size, 4);
  for (const name of names) assert.ok(isPodInterface(name) && name.length <= 15);
  assert.equal(hostInterfaceName('shop/web', 'eth0', 0), names[0]);
  assert.match(one.podMac, /^02(:[0-9a-f]{2}){5}$/);
  for (const other of ['eth0', 'pop', 'pop0123456789', 'pop0123456789ab', 'poplin-01234567', 'popABCDEF01234']) {
    assert.equal(isPodInterface(other), false, other);
  }
});

test('results of each version, and what CHECK misses in them', () => {
  const pod: WiredPod = {
    interfaceName: 'pop0123456789a',
    hostMac: 'ee:ee:ee:ee:ee:ee',
    ifName: 'eth0',
    podMac: '02:00:00:00:00:01',
    netns: '/ns',
    addresses: ['10.1.0.1', 'fd00::1'] as IpAddress[],
    mtu: 1400,
  };
  for (const version of ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const) {
    const result = addResult(version, pod, { name: 'x' });
    assert.deepEqual(missingInResult({ ...result }, pod), []);
    assert.equal(/"version":"6"/.test(JSON.stringify(result)), version < '1');
    assert.equal(/"mtu":1400/.test(JSON.stringify(result)), version === '1.1.0');
  }
  assert.deepEqual(missingInResult({ interfaces: [], ips: [{ address: '10.1.0.1/32' }, null] }, pod), [
    'prevResult has no interface eth0',
    'prevResult lacks fd00::1/128',
  ]);
});

test('a defect answers without giving its inside away as the message', () => {
  const error = toCniError(new TypeError('x is not a function'));
  assert.deepEqual([error.cniCode, error.failure.details], [199, 'x is not a function']);
  assert.deepEqual(JSON.parse(errorBody('1.1.0', error)), {
    cniVersion: '1.1.0',
    code: 199,
    msg: 'poplin agent failed on this call; its log says more',
    details: 'x is not a function',
  });
});
