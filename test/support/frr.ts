/**
 * FRR (zebra and bgpd as Debian ships them) in a namespace of a {@link BgpLink}. It wants users and folders of its own in /etc:
 * they are in a mount namespace where /etc is an overlay, so that none of it is the machine's.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { BgpLink } from './bgp.ts';
import { tool } from './tools.ts';
import { until } from './wait.ts';

const [user, vtyGroup] = ['61900', '61901'];

/** Becomes a shell that ends with the first of the daemons. */
const script = (folder: string): string => `
trap 'kill $(jobs -p)' EXIT
mkdir -p ${folder}
mount -t tmpfs -o mode=755 poplin-frr ${folder}
cd ${folder}
mkdir upper work run
mount -t overlay -o lowerdir=/etc,upperdir=$PWD/upper,workdir=$PWD/work overlay /etc
echo 'frr:x:${user}:${user}::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
printf 'frr:x:${user}:\\nfrrvty:x:${vtyGroup}:frr\\n' >> /etc/group
mkdir -p /etc/frr /etc/pam.d
printf 'auth sufficient pam_rootok.so\\naccount sufficient pam_rootok.so\\n' > /etc/pam.d/frr
printf '%s' "$1" > /etc/frr/frr.conf
: > /etc/frr/vtysh.conf
chown -R frr:frr /etc/frr
chown frr:frrvty run
for daemon in ${tool('zebra')} ${tool('bgpd')}; do
  $daemon --vty_socket $PWD/run -z $PWD/run/zserv.api -i $PWD/run/\${daemon##*/}.pid -P 0 --log stdout &
done
until ${tool('vtysh')} --vty_socket $PWD/run -d zebra -c 'show version' > run/ready 2>&1 &&
      ${tool('vtysh')} --vty_socket $PWD/run -d bgpd -c 'show version' >> run/ready 2>&1; do sleep 0.1; done
${tool('vtysh')} --vty_socket $PWD/run -b
echo 'configuration is loaded'
wait -n
`;

export class Frr {
  output = '';
  readonly #folder: string;
  readonly #child: ChildProcess;

  constructor(link: BgpLink, namespace: string, config: string) {
    // FRR's own user must get through.
    fs.chmodSync(link.folder, 0o711);
    this.#folder = path.join(link.folder, `frr-${namespace}`);
    // In a PID namespace: with the shell everything that it started ends.
    const args = [
      '-m',
      '-p',
      '-f',
      '--kill-child',
      '--propagation',
      'private',
      'bash',
      '-euc',
      script(this.#folder),
      'frr',
      config,
    ];
    this.#child = link.spawn(namespace, 'unshare', args);
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk) => {
        this.output += chunk;
      });
    }
  }
  async ready(): Promise<this> {
    await until(() => this.output.includes('configuration is loaded'), {
      what: `FRR to load its configuration; it said ${this.output}`,
      deadlineMs: 30_000,
    });
    return this;
  }
  vtysh(...commands: string[]): string {
    const args = ['-t', String(this.#child.pid), '-m', '-n', tool('vtysh'), '--vty_socket', `${this.#folder}/run`];
    return execFileSync('nsenter', [...args, ...commands.flatMap((command) => ['-c', command])], { encoding: 'utf8' });
  }
  /** `show bgp neighbors 10.9.0.1 json` of that neighbour. */
  // biome-ignore lint/suspicious/noExplicitAny: FRR's own shape, read by tests
  neighbor(address = '10.9.0.1'): any {
    return JSON.parse(this.vtysh(`show bgp neighbors ${address} json`))[address];
  }
}

/** FRR's side of a link: AS 64513 against our 64512; `neighbor` lines go into the router, `families` into both families. */
export function frrConfig(
  options: { neighbor?: string; families?: string; extra?: string; asn?: number } = {},
): string {
  const family = (name: string, network: string): string => `
 address-family ${name} unicast
  network ${network}
  neighbor 10.9.0.1 activate
  ${options.families ?? ''}
 exit-address-family`;
  return `router bgp ${options.asn ?? 64513}
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor 10.9.0.1 remote-as 64512
 neighbor 10.9.0.1 timers 3 9
 neighbor 10.9.0.1 timers connect 1
 ${options.neighbor ?? ''}${family('ipv4', '10.60.1.0/24')}${family('ipv6', 'fd60:1::/64')}
exit
${options.extra ?? ''}
`;
}
