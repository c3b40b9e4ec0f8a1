/**
 * How each speaker under test is configured: everybody dials it, everything is imported from some peers, everything exported to others, no route
 * goes into the kernel. Each has its policy in force, on the same peers, in its own words.
 */
import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { kubeAsset, toolPath } from '#setup';
import type { BgpLink } from '../../support/bgp.ts';
import { startFrr } from '../../support/bgp-frr.ts';
import { startGobgp } from '../../support/bgp-gobgp.ts';
import { startOpenbgpd } from '../../support/bgp-openbgpd.ts';
import { tool } from '../../support/tools.ts';
import { bundledProgram } from '../kubernetes/agent.ts';

export type DutName = 'poplin' | 'bird' | 'frr' | 'openbgpd' | 'gobgp';

export interface DutPeer {
  readonly id: string;
  readonly address: string;
  readonly asn: number;
  readonly family: 4 | 6;
  /** `in`: what it sends is imported, nothing is exported to it. `out`: the reverse. */
  readonly direction: 'in' | 'out' | 'both';
  /** 300 ms x 3. Only of `poplin` and `bird`. */
  readonly bfd?: boolean;
}

export const dutAsn = 64512;
export const dutAddress = { 4: '10.9.0.1', 6: 'fd09::1' } as const;
export const bfdIntervalMs = 300;

const imports = ({ direction }: DutPeer): boolean => direction !== 'out';
const exports = ({ direction }: DutPeer): boolean => direction !== 'in';

interface Starter {
  readonly installed: () => boolean;
  /** In the link's first namespace. @param environment besides its own; of `poplin` only. */
  readonly start: (
    link: BgpLink,
    peers: readonly DutPeer[],
    environment: Readonly<Record<string, string>>,
  ) => Promise<ChildProcess>;
  /** Names of the processes that count, as /proc says them: not the shells around them. Default: all. */
  readonly programs?: readonly string[];
}

export const starters: Readonly<Record<DutName, Starter>> = {
  poplin: {
    installed: () => true,
    async start(link, peers, environment) {
      const file = path.join(link.folder, 'speaker.yaml');
      fs.writeFileSync(file, poplinText(peers));
      const more = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
      const program = [...(await bundledProgram()), 'speaker', '--config', file];
      return link.spawn(link.a, 'env', [...more, ...program, '--socket', path.join(link.folder, 'speaker.sock')]);
    },
  },
  bird: {
    installed: () => toolPath('bird') !== undefined,
    async start(link, peers) {
      const file = path.join(link.folder, 'bird.conf');
      fs.writeFileSync(file, birdText(peers));
      return link.spawn(link.a, tool('bird'), ['-f', '-c', file, '-s', path.join(link.folder, 'bird.ctl')]);
    },
  },
  frr: {
    installed: () => (['zebra', 'bgpd', 'vtysh'] as const).every((name) => toolPath(name) !== undefined),
    start: async (link, peers) => (await startFrr(link, frrText(peers), link.a, '-n')).process,
    programs: ['zebra', 'bgpd'],
  },
  openbgpd: {
    installed: () => (['openbgpd', 'openbgpctl'] as const).every((name) => toolPath(name) !== undefined),
    start: async (link, peers) => (await startOpenbgpd(link, openbgpdText(peers), link.a)).process,
  },
  gobgp: {
    installed: () => kubeAsset('gobgpd') !== undefined && kubeAsset('gobgp') !== undefined,
    start: async (link, peers) => (await startGobgp(link, gobgpText(peers), link.a)).process,
  },
};

function poplinText(peers: readonly DutPeer[]): string {
  const bfd = `, bfd: { minTx: ${bfdIntervalMs}ms, minRx: ${bfdIntervalMs}ms, multiplier: 3 }`;
  const lines = peers.map((peer) => {
    const [from, to] = [imports(peer) ? 'accept' : 'reject', exports(peer) ? 'accept' : 'reject'];
    return `  - { address: "${peer.address}", asn: ${peer.asn}, passive: true, import: ${from}, export: ${to}${peer.bfd ? bfd : ''} }\n`;
  });
  const head = `asn: ${dutAsn}\nrouterId: 10.9.0.1\n`;
  return `${head}listen: ["${dutAddress[4]}:179", "[${dutAddress[6]}]:179"]\npeers:\n${lines.join('')}`;
}

function birdText(peers: readonly DutPeer[]): string {
  const bfd = `protocol bfd { interface "*" { interval ${bfdIntervalMs} ms; multiplier 3; }; }\n`;
  const sessions = peers.map((peer) => {
    const { id, address, asn, family } = peer;
    const channel = `ipv${family} { import ${imports(peer) ? 'all' : 'none'}; export ${exports(peer) ? 'all' : 'none'}; next hop self; };`;
    return `protocol bgp ${id} { local ${dutAddress[family]} as ${dutAsn}; neighbor ${address} as ${asn}; passive on; ${peer.bfd ? 'bfd on; ' : ''}${channel} }\n`;
  });
  const some = peers.some((peer) => peer.bfd) ? bfd : '';
  return `router id 10.9.0.1;\nprotocol device {}\n${some}${sessions.join('')}`;
}

/** Defaults of `traditional`: those of a data centre would have a hold time of 9 s. */
function frrText(peers: readonly DutPeer[]): string {
  const neighbors = peers.map(
    ({ address, asn }) => ` neighbor ${address} remote-as ${asn}\n neighbor ${address} passive\n`,
  );
  const family = (own: 4 | 6): string => {
    const lines = peers
      .filter((peer) => peer.family === own)
      .map((peer) => {
        const none = [...(imports(peer) ? [] : ['in']), ...(exports(peer) ? [] : ['out'])];
        const maps = none.map((way) => `  neighbor ${peer.address} route-map none ${way}\n`);
        return `  neighbor ${peer.address} activate\n${maps.join('')}`;
      });
    return ` address-family ipv${own} unicast\n${lines.join('')} exit-address-family\n`;
  };
  return `frr defaults traditional
log stdout errors
router bgp ${dutAsn}
 bgp router-id 10.9.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
${neighbors.join('')}${family(4)}${family(6)}exit
route-map none deny 10
exit
`;
}

function openbgpdText(peers: readonly DutPeer[]): string {
  const neighbors = peers.map(({ address, asn, family }) => {
    const lines = [
      `remote-as ${asn}`,
      'passive',
      `announce IPv${family} unicast`,
      `local-address ${dutAddress[family]}`,
    ];
    return `neighbor ${address} {\n  ${lines.join('\n  ')}\n}\n`;
  });
  const allow = (way: 'from' | 'to', of: (peer: DutPeer) => boolean): string =>
    peers
      .filter(of)
      .map(({ address }) => `allow ${way} ${address}\n`)
      .join('');
  return `AS ${dutAsn}
router-id 10.9.0.1
fib-update no
listen on ${dutAddress[4]}
listen on ${dutAddress[6]}
${neighbors.join('')}deny from any
deny to any
${allow('from', imports)}${allow('to', exports)}`;
}

function gobgpText(peers: readonly DutPeer[]): string {
  const neighbors = peers.map(
    ({ address, asn, family }) => `[[neighbors]]
[neighbors.config]
neighbor-address = "${address}"
peer-as = ${asn}
[neighbors.transport.config]
passive-mode = true
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv${family}-unicast"
`,
  );
  const set = (name: string, of: (peer: DutPeer) => boolean): string => {
    const list = peers.filter(of).map(({ address, family }) => `"${address}/${family === 4 ? 32 : 128}"`);
    return `[[defined-sets.neighbor-sets]]\nneighbor-set-name = "${name}"\nneighbor-info-list = [${list.join(', ')}]\n`;
  };
  const accept = (name: string): string => `[[policy-definitions]]
name = "${name}"
[[policy-definitions.statements]]
[policy-definitions.statements.conditions.match-neighbor-set]
neighbor-set = "${name}"
[policy-definitions.statements.actions]
route-disposition = "accept-route"
`;
  return `[global.config]
as = ${dutAsn}
router-id = "10.9.0.1"
local-address-list = ["${dutAddress[4]}", "${dutAddress[6]}"]
[global.apply-policy.config]
import-policy-list = ["from"]
default-import-policy = "reject-route"
export-policy-list = ["to"]
default-export-policy = "reject-route"
${set('from', imports)}${set('to', exports)}${accept('from')}${accept('to')}${neighbors.join('')}`;
}
