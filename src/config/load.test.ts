import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfigError, configFile, loadConfig } from './load.ts';
import { agentOptions, envOf, flagOf, type OptionName, optionNames } from './options.ts';

const load = (input: Partial<Parameters<typeof loadConfig>[0]>): ReturnType<typeof loadConfig> =>
  loadConfig({ flags: {}, env: {}, hostname: 'Host-1', ...input });
const problems = (input: Partial<Parameters<typeof loadConfig>[0]>): readonly string[] => {
  try {
    load(input);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.failure.problems;
  }
  throw new Error('was accepted');
};
const sourceOf = (loaded: ReturnType<typeof load>, name: OptionName): string =>
  loaded.values.find((value) => value.name === name)!.source;

test('defaults are valid, and what depends on others follows them', () => {
  const { config } = load({ flags: { runDir: '/tmp/r', stateDir: '/tmp/s' } });
  assert.equal(config.nodeName, 'host-1');
  assert.equal(config.apiSocket, '/tmp/r/api.sock');
  assert.equal(config.cniSocket, '/tmp/r/cni/cni.sock');
  assert.equal(config.cniQueue, '/tmp/s/cni-queue');
  assert.equal(config.markMask, 0xf0000);
  assert.equal(config.meshEnabled, true);
});

test('flag over env over file over default, each value with its source', () => {
  const file = { path: '/c.yaml', text: '# mine\nasn: 65001\nbgpPort: 1790\nholdTimeSec: 9\nmarkMask: 0xff\n' };
  const loaded = load({ flags: { asn: '65003' }, env: { POPLIN_ASN: '65002', POPLIN_BGP_PORT: '1791' }, file });
  assert.equal(loaded.config.asn, 65003);
  assert.equal(loaded.config.bgpPort, 1791);
  assert.equal(loaded.config.holdTimeSec, 9);
  assert.equal(loaded.config.markMask, 0xff);
  assert.equal(sourceOf(loaded, 'asn'), 'flag --asn');
  assert.equal(sourceOf(loaded, 'bgpPort'), 'env POPLIN_BGP_PORT');
  assert.equal(sourceOf(loaded, 'holdTimeSec'), 'file /c.yaml:4');
  assert.equal(sourceOf(loaded, 'stateDir'), 'default');
});

test('unknown keys are errors that name what was meant', () => {
  const found = problems({
    env: { POPLIN_NODENAME: 'x', POPLIN_ZZZZZZZZZZZZZZZ: '1', HOME: '/' },
    file: { path: '/c.yaml', text: 'nodName: a\nfoo: 1\n' },
  });
  assert.match(found.join('\n'), /env POPLIN_NODENAME: no such option; did you mean POPLIN_NODE_NAME\?/);
  assert.match(found.join('\n'), /env POPLIN_ZZZZZZZZZZZZZZZ: no such option; unset it/);
  assert.match(found.join('\n'), /file \/c.yaml:1: "nodName": no such option; did you mean nodeName\?/);
  assert.match(found.join('\n'), /file \/c.yaml:2: "foo": no such option; remove it/);
});

test('variables that kubelet sets for a Service of our name are not options', () => {
  const { config } = load({
    env: {
      POPLIN_SERVICE_HOST: '10.0.0.1',
      POPLIN_PORT: 'tcp://10.0.0.1:179',
      POPLIN_BGP_PORT: 'tcp://10.0.0.2:179',
      POPLIN_PORT_179_TCP_ADDR: '10.0.0.1',
      POPLIN_API_SERVICE_PORT_HTTP: '80',
      POPLIN_ASN: '',
    },
  });
  assert.equal(config.asn, 64512);
});

test('a value out of range names option, value, place and what is allowed, even where it is overridden', () => {
  const found = problems({
    flags: { holdTimeSec: '2', asn: '0', routerId: '0.0.0.0', markMask: '0x1' },
    env: { POPLIN_LOG_LEVEL: 'loud', POPLIN_STATE_DIR: 'relative', POPLIN_ASN: 'x' },
    file: { path: '/c.yaml', text: 'meshEnabled: yes\ninterfaceMtu: 1279\n' },
  });
  const text = found.join('\n');
  assert.match(text, /flag --hold-time-sec: "2" is not allowed for holdTimeSec; give 0 or 3\.\.65535 seconds/);
  assert.match(text, /flag --asn: "0"/);
  assert.match(text, /env POPLIN_ASN: "x"/);
  assert.match(text, /flag --router-id: "0.0.0.0"/);
  assert.match(text, /flag --mark-mask: "0x1"/);
  assert.match(text, /env POPLIN_LOG_LEVEL: "loud".*error, warn, info, debug/);
  assert.match(text, /env POPLIN_STATE_DIR: "relative".*absolute path/);
  assert.match(text, /file \/c.yaml:1: "yes"/);
  assert.match(text, /file \/c.yaml:2: 1279/);
  assert.equal(found.length, 9);
});

test('a socket path that the kernel cannot take is refused before anything starts', () => {
  assert.match(problems({ flags: { runDir: `/${'x'.repeat(110)}` } }).join(), /apiSocket.*at most 95 bytes/);
});

test('broken files', () => {
  assert.match(problems({ file: { path: '/c', text: 'a: [1' } })[0]!, /^file \/c:1: not valid YAML/);
  assert.match(problems({ file: { path: '/c', text: '- 1' } })[0]!, /not a mapping/);
  assert.match(problems({ file: { path: '/c', text: 'asn: 1\nasn: 2' } })[0]!, /^file \/c:2: .*unique/);
  assert.match(problems({ file: { path: '/c', text: 'asn: 1.10' } })[0]!, /1\.1 is not allowed/);
  assert.equal(load({ file: { path: '/c', text: 'asn: "1.10"' } }).config.asn, 65546);
  assert.equal(load({ file: { path: '/c', text: '# nothing\n' } }).config.asn, 64512);
  assert.throws(
    () =>
      configFile('/none', () => {
        throw new Error('ENOENT');
      }),
    /file \/none: cannot be read: ENOENT/,
  );
});

test('flags and variables of all options differ, and every given default is allowed', () => {
  assert.equal(new Set(optionNames.map(flagOf)).size, optionNames.length);
  assert.equal(new Set(optionNames.map(envOf)).size, optionNames.length);
  for (const name of optionNames) {
    const option = agentOptions[name];
    if (!('derived' in option)) assert.equal(option.parse(option.default), option.default, name);
  }
});

test('whatever the text, an integer option takes it in range or not at all', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.integer().map(String), fc.double().map(String)), (text) => {
      const value = agentOptions.bgpPort.parse(text);
      assert.equal(value !== undefined, /^[1-9]\d*$/.test(text) && Number(text) <= 65535);
    }),
  );
});
