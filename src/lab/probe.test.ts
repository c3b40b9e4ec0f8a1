import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differences, readExpected, unreachable } from './demo/expected.ts';
import { cell, formatTable, type ProbeResult, probePlan } from './probe.ts';
import { report } from './prober/streams.ts';

const result = (
  protocol: 'TCP' | 'UDP',
  family: 'ipv4' | 'ipv6',
  verdict: 'allow' | 'deny',
  from = 'a/x',
  to = 'a/y',
): ProbeResult => ({
  from,
  to,
  protocol,
  port: 80,
  family,
  verdict,
});

test('the plan has every ordered pair, itself included, each port and each family that both have', () => {
  const plan = probePlan([
    {
      id: 'a/dual',
      netns: '',
      addresses: ['10.0.0.1', 'fd00::1'],
      ports: [
        { protocol: 'TCP', port: 80 },
        { protocol: 'UDP', port: 53 },
      ],
    },
    { id: 'a/four', netns: '', addresses: ['10.0.0.2'], ports: [{ protocol: 'TCP', port: 81 }] },
  ]);
  assert.deepEqual(
    plan.map(
      ({ result: { from, to, protocol, port, family }, request }) =>
        `${from} ${to} ${protocol} ${port} ${family} ${request.address}`,
    ),
    [
      'a/dual a/dual TCP 80 ipv4 10.0.0.1',
      'a/dual a/dual TCP 80 ipv6 fd00::1',
      'a/dual a/dual UDP 53 ipv4 10.0.0.1',
      'a/dual a/dual UDP 53 ipv6 fd00::1',
      'a/dual a/four TCP 81 ipv4 10.0.0.2',
      'a/four a/dual TCP 80 ipv4 10.0.0.1',
      'a/four a/dual UDP 53 ipv4 10.0.0.1',
      'a/four a/four TCP 81 ipv4 10.0.0.2',
    ],
  );
});

test('a cell tells which part of the probes of a pair passed', () => {
  const all = (tcp4: boolean, tcp6: boolean, udp4: boolean, udp6: boolean): string => {
    const verdict = (allowed: boolean): 'allow' | 'deny' => (allowed ? 'allow' : 'deny');
    return cell([
      result('TCP', 'ipv4', verdict(tcp4)),
      result('TCP', 'ipv6', verdict(tcp6)),
      result('UDP', 'ipv4', verdict(udp4)),
      result('UDP', 'ipv6', verdict(udp6)),
    ]);
  };
  assert.equal(all(true, true, true, true), '+');
  assert.equal(all(false, false, false, false), '.');
  assert.equal(all(true, true, false, false), 't');
  assert.equal(all(false, false, true, true), 'u');
  assert.equal(all(true, false, true, false), '4');
  assert.equal(all(false, true, false, true), '6');
  assert.equal(all(true, false, false, false), '~');
  assert.equal(cell([]), ' ');
});

test('the table names rows, numbers columns, and explains only the signs in it', () => {
  const text = formatTable([result('TCP', 'ipv4', 'allow'), result('TCP', 'ipv4', 'deny', 'a/y', 'a/x')]);
  assert.match(text, /^a\/x {5} {4}\+ {3}1$|a\/x/m);
  assert.match(text, /\+ allowed, \. denied/);
  assert.doesNotMatch(text, /only/);
});

test('differences and unreachable pairs', () => {
  const expected = new Map([
    ['a/x a/y', '+'],
    ['a/y a/x', '.'],
  ]);
  const measured = [
    result('TCP', 'ipv4', 'deny'),
    result('TCP', 'ipv6', 'allow'),
    result('TCP', 'ipv4', 'allow', 'a/y', 'a/x'),
  ];
  assert.deepEqual(differences(expected, measured), [
    { from: 'a/x', to: 'a/y', expected: '+', measured: '6' },
    { from: 'a/y', to: 'a/x', expected: '.', measured: '+' },
  ]);
  assert.deepEqual(
    unreachable(expected, measured).map(({ from }) => from),
    ['a/x'],
  );
  assert.deepEqual(differences(new Map([['a/x a/z', '+']]), measured)[0]!.measured, ' ');
  assert.equal(readExpected().size, 144);
});

test('a stream is counted packet by packet: lost, twice, and how long the longest gap was', () => {
  // Two flows of 100 packets a second each (10 ms apart).
  const sentMs = [0, 10, 20, 30, 40, 50];
  const whole = { sentMs, arrivals: [1, 1, 1, 1, 1, 1] };
  assert.deepEqual(report([whole, whole], 200), { sent: 12, received: 12, lost: 0, duplicates: 0, longestOutageMs: 0 });
  const gap = { sentMs, arrivals: [1, 0, 0, 1, 2, 1] };
  assert.deepEqual(report([whole, gap], 200), { sent: 12, received: 10, lost: 2, duplicates: 1, longestOutageMs: 20 });
  const forEver = { sentMs, arrivals: [1, 1, 0, 0, 0, 0] };
  assert.equal(report([whole, forEver], 200).longestOutageMs, 40);
  assert.equal(report([{ sentMs, arrivals: [0, 0, 0, 0, 0, 0] }, whole], 200).received, 6);
});
