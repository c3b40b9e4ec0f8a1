/**
 * FRR's zebra, bgpd and bfdd in a namespace of a {@link BgpLink}. FRR wants users and folders of its own in /etc: it gets them in a mount
 * namespace where /etc is an overlay, so that none of it is the machine's.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { BgpLink } from './bgp.ts';
import { tool } from './tools.ts';
import { until } from './wait.ts';

const [user, vtyGroup] = ['61900', '61901'];

/** Becomes a shell that ends with the first of the daemons. */
const script = (folder: string): string => `
trap 'kill $(jobs -p)' EXIT
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
# One after the other, as FRR's own init does: a bgpd that asks for a session before zebra knows a bfdd never gets it.
for daemon in ${tool('zebra')} ${tool('bfdd')} ${tool('bgpd')}; do
  name=\${daemon##*/}
  control=; [[ $name == bfdd ]] && control="--bfdctl $PWD/run/bfdd.sock"
  $daemon --vty_socket $PWD/run -z $PWD/run/zserv.api -i $PWD/run/$name.pid -P 0 --log stdout $control &
  until ${tool('vtysh')} --vty_socket $PWD/run -d $name -c 'show version' > run/ready 2>&1; do sleep 0.1; done
  [[ $name != bfdd ]] ||
    until ${tool('vtysh')} --vty_socket $PWD/run -d zebra -c 'show zebra client' 2>&1 | grep -q 'Client: bfd'; do sleep 0.1; done
done
${tool('vtysh')} --vty_socket $PWD/run -b
echo 'configuration is loaded'
wait -n
`;

/** What `show bfd peer ... json` says of a session, as far as tests look at it. */
export interface FrrBfdPeer {
  readonly peer: string;
  readonly status: string;
  readonly diagnostic: string;
  readonly 'remote-diagnostic': string;
  readonly 'receive-interval': number;
  readonly 'transmit-interval': number;
  readonly 'remote-receive-interval': number;
  readonly 'remote-transmit-interval': number;
  readonly multihop: boolean;
}

export class Frr {
  readonly #inside: readonly string[];
  constructor(pid: number, folder: string) {
    this.#inside = ['-t', String(pid), '-m', '-n', tool('vtysh'), '--vty_socket', `${folder}/run`];
  }
  vtysh(...commands: string[]): string {
    const args = [...this.#inside, ...commands.flatMap((command) => ['-c', command])];
    return execFileSync('nsenter', args, { encoding: 'utf8' });
  }
  configure(...commands: string[]): void {
    this.vtysh('configure terminal', ...commands);
  }
  bfd(address: string): FrrBfdPeer | undefined {
    const peers = JSON.parse(this.vtysh('show bfd peers json')) as FrrBfdPeer[];
    return peers.find(({ peer }) => peer === address);
  }
  /** Addresses of what is in the kernel's and in BGP's table. */
  hasRoute(prefix: string): boolean {
    const family = prefix.includes(':') ? 'ipv6' : 'ipv4';
    return this.vtysh(`show bgp ${family} unicast`).includes(prefix);
  }
}

/** Starts it with this `frr.conf`; it ends with the link. */
export async function startFrr(link: BgpLink, config: string, namespace = link.b): Promise<Frr> {
  const folder = path.join(link.folder, 'frr');
  fs.mkdirSync(folder);
  // FRR becomes a user of its own, who must get at its sockets.
  fs.chmodSync(link.folder, 0o711);
  const shell = ['bash', '-euc', script(folder), 'frr', config];
  const child = link.spawn(namespace, 'unshare', ['-m', '--propagation', 'private', '--kill-child=SIGTERM', ...shell]);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk));
  await until(
    () => {
      if (output.includes('configuration is loaded')) return true;
      throw new Error(child.exitCode === null ? output : `FRR ended: ${output}`);
    },
    { what: 'FRR to load its configuration', deadlineMs: 30_000 },
  );
  return new Frr(child.pid!, folder);
}
