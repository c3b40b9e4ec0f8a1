/** What kube-proxy does of a node: packets to a service's address go to one of the pods behind it, those that come back to their sender masqueraded. */
import { familyOf, type IpAddress } from '#kit';
import { must, netnsPath } from '#lab';
import { type Backend, serviceTarget } from '../ends.ts';
import type { SuiteFamily } from '../suite.ts';
import type { SuiteWorld } from '../world.ts';

const chain = 'SUITE-SERVICES';
const hairpinChain = 'SUITE-HAIRPIN';

/** Input of iptables-restore: our chains with the rules of `world`, nothing else of the table. */
export function serviceRules(world: SuiteWorld, family: SuiteFamily): string {
  const rules: string[] = [];
  const hairpins = new Set<string>();
  for (const [name, service] of world.services) {
    for (const port of service.ports) {
      const { clusterIP, backends } = serviceTarget(world, name, port, family);
      if (!clusterIP) continue;
      const match = `-d ${clusterIP} -p ${port.protocol.toLowerCase()} --dport ${port.port}`;
      for (const [i, backend] of backends.entries()) {
        const left = backends.length - i;
        const chance = left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(6)}` : '';
        rules.push(`-A ${chain} ${match}${chance} -j DNAT --to-destination ${destinationOf(backend)}`);
        hairpins.add(`-A ${hairpinChain} -s ${backend.end.address} -d ${backend.end.address} -j MASQUERADE`);
      }
    }
  }
  return `*nat\n:${chain} - [0:0]\n:${hairpinChain} - [0:0]\n${[...rules, ...hairpins].map((rule) => `${rule}\n`).join('')}COMMIT\n`;
}

function destinationOf({ end, port }: Backend): string {
  const address = end.address as IpAddress;
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The services of one node. */
export class ServiceRewriter {
  readonly #netns: string;
  readonly #backend: 'nft' | 'legacy';
  readonly #written = new Map<SuiteFamily, string>();

  constructor(netns: string, backend: 'nft' | 'legacy') {
    this.#netns = netns;
    this.#backend = backend;
  }

  async sync(world: SuiteWorld): Promise<void> {
    for (const [family, command] of [
      ['IPv4', 'iptables'],
      ['IPv6', 'ip6tables'],
    ] as const) {
      const wanted = serviceRules(world, family);
      const before = this.#written.get(family);
      if (before === wanted || (before === undefined && world.services.size === 0)) continue;
      await this.#inNode([`${command}-${this.#backend}-restore`, '--noflush'], wanted);
      if (before === undefined) {
        for (const hook of ['PREROUTING', 'OUTPUT']) {
          await this.#inNode([`${command}-${this.#backend}`, '-t', 'nat', '-A', hook, '-j', chain]);
        }
        await this.#inNode([`${command}-${this.#backend}`, '-t', 'nat', '-A', 'POSTROUTING', '-j', hairpinChain]);
      }
      this.#written.set(family, wanted);
    }
  }

  async #inNode(argv: readonly string[], stdin = ''): Promise<void> {
    await must('nsenter', [`--net=${netnsPath(this.#netns)}`, ...argv], stdin);
  }
}
