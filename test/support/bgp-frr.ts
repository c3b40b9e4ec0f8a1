/**
 * FRR's zebra and bgpd in a namespace of a {@link BgpLink}. FRR wants users and folders of its own in /etc: it gets them in a mount namespace
 * where /etc is an overlay, so that none of it is the machine's.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { BgpLink, BirdHost } from './bgp.ts';
import { tool } from './tools.ts';
import { until } from './wait.ts';

const [user, vtyGroup] = ['61900', '61901'];

/** Becomes a shell that ends with the first of the daemons. */
const script = (folder: string, bgpdFlags: string): string => `
trap 'kill $(jobs -p)' EXIT
mount -t tmpfs -o mode=755 poplin-frr ${folder}
cd ${folder}
mkdir upper work run
mount -t overlay -o lowerdir=/etc,upperdir=$PWD/upper,workdir=$PWD/work overlay /etc
echo 'frr:x:${user}:${user}::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
printf 'frr:x:${user}:\\nfrrvty:x:${vtyGroup}:frr\\n' >> /etc/group
mkdir -p /etc/frr /etc/pam.d
printf 'auth sufficient pam_rootok.so\\naccount sufficient pam_rootok.so\\n' > /etc/pam.d/frr
cp ${folder}.conf /etc/frr/frr.conf
: > /etc/frr/vtysh.conf
chown -R frr:frr /etc/frr
chown frr:frrvty run
for daemon in ${tool('zebra')} ${tool('bgpd')}; do
  $daemon --vty_socket $PWD/run -z $PWD/run/zserv.api -i $PWD/run/\${daemon##*/}.pid -P 0 --log stdout $([[ $daemon != */bgpd ]] || echo ${bgpdFlags}) &
done
until ${tool('vtysh')} --vty_socket $PWD/run -d zebra -c 'show version' > run/ready 2>&1 &&
      ${tool('vtysh')} --vty_socket $PWD/run -d bgpd -c 'show version' >> run/ready 2>&1; do sleep 0.2; done
${tool('vtysh')} --vty_socket $PWD/run -b
echo 'configuration is loaded'
wait -n
`;

export interface Frr {
  vtysh(...commands: string[]): string;
  /** What the daemons said; `log stdout` is on, `debug bgp neighbor-events` is for the configuration. */
  readonly output: string;
  /** Halts bgpd (SIGSTOP) or lets it go on; its kernel goes on for it: connections to it are made. */
  pause(paused: boolean): void;
  /** Ends with the daemons, which are below it. */
  readonly process: ChildProcess;
  /** SIGKILL to bgpd and zebra: the kernel closes their connections, no NOTIFICATION is sent. */
  kill(): Promise<void>;
}

let counter = 0;

/** Starts it with this `frr.conf`; it ends with the link. `bgpdFlags`: more of bgpd's, such as `-n` (no kernel routes). */
export async function startFrr(
  link: BirdHost & Pick<BgpLink, 'b'>,
  config: string,
  namespace = link.b,
  bgpdFlags = '',
): Promise<Frr> {
  const folder = path.join(link.folder, `frr-${++counter}`);
  // FRR's own user must get through to its folder.
  fs.chmodSync(link.folder, 0o711);
  fs.mkdirSync(folder);
  // Not as an argument: those of a thousand neighbours are longer than one may be.
  fs.writeFileSync(`${folder}.conf`, config);
  const args = ['-m', '--propagation', 'private', '--kill-child=SIGTERM', 'bash', '-euc', script(folder, bgpdFlags)];
  const child: ChildProcess = link.spawn(namespace, 'unshare', args);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk));
  await until(
    () => {
      if (child.exitCode !== null) throw new Error(`FRR ended: ${output}`);
      return output.includes('configuration is loaded');
    },
    { what: 'FRR to load its configuration', deadlineMs: 30_000 },
  );
  const inside = ['-t', String(child.pid), '-m', '-n', tool('vtysh'), '--vty_socket', `${folder}/run`];
  const pidOf = (daemon: string): number =>
    Number(fs.readFileSync(`/proc/${child.pid}/root${folder}/run/${daemon}.pid`, 'utf8'));
  const vtysh = (...commands: string[]): string =>
    execFileSync('nsenter', [...inside, ...commands.flatMap((command) => ['-c', command])], { encoding: 'utf8' });
  // Before, bgpd knows no interfaces and answers an IPv6 next hop that has a link-local address with a NOTIFICATION (3/10).
  await until(() => /^bgp\b/m.test(vtysh('show zebra client summary')), { what: 'bgpd to know zebra' });
  return {
    vtysh,
    process: child,
    get output() {
      return output;
    },
    pause: (paused) => void process.kill(pidOf('bgpd'), paused ? 'SIGSTOP' : 'SIGCONT'),
    async kill() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      for (const daemon of ['bgpd', 'zebra']) process.kill(pidOf(daemon), 'SIGKILL');
      await gone;
    },
  };
}
