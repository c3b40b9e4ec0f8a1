/** A rehearsal, then a speaker in earnest to which peers say a thousand changes one by one; in a process of its own, for what the engine says of it. */
import fs from 'node:fs';
import { createSpeaker, type SpeakerConfig, wire } from '#bgp';
import { type IpAddress, silentLogger, systemClock } from '#kit';
import { UpdateFiles } from './mrt-files.ts';
import { rehearse } from './rehearsal.ts';
import { TcpTransport } from './tcp-transport.ts';

const changes = 1000;
/** After so long nothing is said for a while. */
const busyMs = 6;
const restMs = 1;
const own = { address: '10.9.0.1' as IpAddress, port: 179 };
const peers = [2, 3].map((host) => ({ address: `10.9.0.${host}` as IpAddress, asn: 64600 + host }));

// As from another thread or a file: no text of it is one that stands in the code.
const config: SpeakerConfig = JSON.parse(
  JSON.stringify({
    asn: 64512,
    routerId: own.address,
    listen: [],
    originate: [],
    peers: peers.map(({ address, asn }, index) => ({
      name: address,
      address,
      port: 179,
      asn,
      families: ['ipv4-unicast'],
      holdTimeSec: 90,
      passive: true,
      connectRetrySec: 60,
      import: index === 0 ? 'accept' : 'reject',
      export: index === 0 ? 'reject' : 'accept',
    })),
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 120, deferralTimeSec: 60 },
  }),
);

function change(n: number): Uint8Array {
  let message = new Uint8Array(0);
  const packer = wire.createUpdatePacker((chunk) => {
    message = chunk.slice();
  });
  const attributes = wire.createExportedAttributes();
  attributes.bytes.set([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, peers[0]!.asn >> 8, peers[0]!.asn & 255]);
  attributes.split = attributes.length = 13;
  if (n % 2 === 0) packer.startAnnounce(4, attributes, Uint8Array.of(10, 9, 0, 2));
  else packer.startWithdraw(4);
  packer.add4(0xc612_0000 | (((n >> 1) % 200) << 8), 24);
  packer.flush();
  return message;
}

function inEarnest(transport: TcpTransport): void {
  const clock = systemClock();
  const hooks = { onPeerState: () => undefined, onRoutes: () => undefined };
  const tap = new UpdateFiles({ clock, log: silentLogger, wallMs: () => 0 }).recorder;
  const sockets = { dial: () => () => undefined, configure: () => undefined };
  const deps = {
    ...hooks,
    clock,
    log: silentLogger,
    random: Math.random,
    defer: transport.defer,
    afterwards: transport.afterwards,
    tap,
    transport: sockets,
  };
  const speaker = createSpeaker(deps, config, { withoutFeed: true });
  speaker.start();
  const script = Array.from({ length: changes }, (_, n) => change(n));
  let said = -1;
  let restedAtMs = 0;
  const [from] = peers.map(({ address, asn }, index) => {
    const [here, there] = transport.pair(own, { address, port: 1024 });
    const say = (): void => {
      if (said++ < 0) fs.writeSync(1, 'changes begin\n');
      if (said === changes) {
        fs.writeSync(1, 'changes end\n');
        process.exit();
      }
      const next = (): void => from!.write(script[said]!);
      if (performance.now() - restedAtMs < busyMs) next();
      else {
        setTimeout(next, restMs);
        restedAtMs = performance.now() + restMs;
      }
    };
    there.start({
      onData: () => index === 1 && said >= 0 && say(),
      onClosed: () => process.exit(1),
      onDrained: () => undefined,
    });
    speaker.accept(here);
    const routerId = 0x0a09_0002 + index;
    there.write(
      wire.encodeOpen({ asn, holdTimeSec: 90, routerId, families: ['ipv4-unicast'], asn4: true, routeRefresh: true }),
    );
    for (let n = 0; n < 2; n++) there.write(wire.encodeKeepalive());
    if (index === 1) {
      const poll = setInterval(() => {
        if (speaker.peerStatuses().some(({ state }) => state !== 'Established')) return;
        clearInterval(poll);
        say();
      }, 20);
    }
    return there;
  });
}

const transport = new TcpTransport(silentLogger, () => undefined);
rehearse(transport, { random: Math.random, withoutFeed: true }, () => inEarnest(transport));
