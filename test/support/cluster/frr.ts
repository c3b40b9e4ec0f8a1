/**
 * FRR as the ToR router in place of BIRD: zebra and bgpd as Debian ships them, configured by the one `/etc/frr/frr.conf`.
 *
 * FRR wants users and folders of its own in /etc. It gets them in a mount namespace where /etc is an overlay, so that none of it is the machine's.
 */
import path from 'node:path';
import { isAlive, type LabProcess, must, startProcess } from '#lab';
import { until } from '../wait.ts';
import { clusterFolder, netnsOf, paths, systemPath } from './layout.ts';
import { tail } from './node.ts';
import { updateState } from './state.ts';
import { setupTool } from './tools.ts';

const role = 'frr';
const folder = path.join(clusterFolder, 'frr');
const log = path.join(paths.logs, 'frr.log');
const [user, vtyGroup] = ['61900', '61901'];

/** Becomes a shell that ends with the first of the daemons. */
const script = (): string => `
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
for daemon in ${setupTool('zebra')} ${setupTool('bgpd')}; do
  $daemon --vty_socket $PWD/run -z $PWD/run/zserv.api -i $PWD/run/\${daemon##*/}.pid -P 0 --log stdout &
done
until ${setupTool('vtysh')} --vty_socket $PWD/run -d zebra -c 'show version' > run/ready 2>&1 &&
      ${setupTool('vtysh')} --vty_socket $PWD/run -d bgpd -c 'show version' >> run/ready 2>&1; do sleep 0.2; done
${setupTool('vtysh')} --vty_socket $PWD/run -b
echo 'configuration is loaded'
wait -n
`;

export interface Frr {
  /** `vtysh -c COMMAND`. */
  readonly vtysh: (command: string) => Promise<string>;
}

/** Starts it with this `frr.conf`; BIRD must have been stopped. It ends with the cluster. */
export async function startFrr(config: string): Promise<Frr> {
  const started: LabProcess = await startProcess({
    role,
    netns: netnsOf('tor'),
    command: 'unshare',
    args: ['-m', '--propagation', 'private', 'bash', '-euc', script(), 'frr', config],
    logFile: log,
    env: { PATH: systemPath },
  });
  updateState((state) => ({ ...state, processes: { ...state.processes, [role]: started } }));
  await until(
    () => {
      if (!isAlive(started)) throw new Error(`FRR ended: ${tail(log)}`);
      return tail(log, 1_000).includes('configuration is loaded');
    },
    { what: `FRR to load its configuration (${log})`, deadlineMs: 60_000, intervalMs: 100 },
  );
  const vtysh = [setupTool('vtysh'), '--vty_socket', `${folder}/run`];
  return { vtysh: (command) => must('nsenter', ['-t', String(started.pid), '-m', '-n', ...vtysh, '-c', command]) };
}
