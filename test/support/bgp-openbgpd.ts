/**
 * OpenBGPD in a namespace of a {@link BgpLink}. It wants users of its own, a chroot, and a folder in /run: it gets them in a mount namespace
 * that nobody else sees, and nothing is left of them.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { BgpLink } from './bgp.ts';
import { tool } from './tools.ts';
import { until } from './wait.ts';

const user = '_openbgpd';
const id = 64999;

export interface Openbgpd {
  /** The parent of its other two. */
  readonly process: ChildProcess;
  /** `bgpctl ...`. */
  cli(command: string): string;
  /** Another configuration, taken up by `bgpctl reload`. */
  configure(config: string): void;
}

/** bgpctl waits for ever for a bgpd of a thousand neighbours that does not come up. */
const ctlMsMax = 5_000;

/** Starts it with this configuration, to which its control socket is added; it ends with the link. */
export async function startOpenbgpd(link: BgpLink, config: string, namespace = link.b): Promise<Openbgpd> {
  const file = (name: string): string => path.join(link.folder, `openbgpd.${name}`);
  const empty = file('chroot');
  fs.mkdirSync(empty);
  // The sockets' folder is a real one: /run of the namespace is seen by nobody outside of it.
  const socket = file('sock');
  const write = (text: string): void => fs.writeFileSync(file('conf'), `socket "${socket}"\n${text}`, { mode: 0o600 });
  write(config);
  const passwd = `${fs.readFileSync('/etc/passwd', 'utf8')}${user}:x:${id}:${id}::${empty}:/usr/sbin/nologin\n`;
  fs.writeFileSync(file('passwd'), passwd);
  fs.writeFileSync(file('group'), `${fs.readFileSync('/etc/group', 'utf8')}${user}:x:${id}:\n`);
  const script = `mount --bind ${file('passwd')} /etc/passwd && mount --bind ${file('group')} /etc/group &&
mount -t tmpfs none /run && mkdir -p /run/openbgpd && exec "$0" -d -f ${file('conf')}`;
  const child = link.spawn(namespace, 'unshare', [
    '-m',
    '--propagation',
    'private',
    'sh',
    '-c',
    script,
    tool('openbgpd'),
  ]);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk));
  const cli = (command: string): string =>
    execFileSync(tool('openbgpctl'), ['-s', socket, ...command.split(' ')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: ctlMsMax,
    });
  const answers = (): boolean => {
    if (child.exitCode !== null) throw new Error(`bgpd ended: ${output}`);
    return cli('show').includes('Neighbor');
  };
  await until(answers, { what: () => `OpenBGPD to answer; it said ${output}` });
  return {
    process: child,
    cli,
    configure(text) {
      write(text);
      cli('reload');
    },
  };
}

/** AS 64513 against our 64512, by IPv4 and IPv6 (it announces IPv6 over IPv6 only); `neighbor` goes into both. */
export function openbgpdConfig(options: { neighbor?: string; networks?: readonly string[] } = {}): string {
  const networks = options.networks ?? ['10.60.1.0/24', 'fd60:1::/64'];
  const neighbor = (address: string, family: string): string => `neighbor ${address} {
  remote-as 64512
  holdtime 9
  announce ${family} unicast
  ${options.neighbor ?? ''}
}
`;
  return `AS 64513
router-id 10.9.0.2
connect-retry 1
${networks.map((network) => `network ${network}`).join('\n')}
${neighbor('10.9.0.1', 'IPv4')}${neighbor('fd09::1', 'IPv6')}allow from any
allow to any
`;
}
