/** ExaBGP in a namespace of a {@link BgpLink}, under Debian's Python: routes come from its configuration, what it hears is read from its JSON. */
import fs from 'node:fs';
import path from 'node:path';
import type { BgpLink } from './bgp.ts';
import { tool } from './tools.ts';
import { until } from './wait.ts';

const python = '/usr/bin/python3';

/** Options of a test that wants ExaBGP beside what `needs` says. */
export function needsExabgp(others: { readonly skip?: string }): { readonly skip?: string } {
  if (others.skip !== undefined || fs.existsSync(python)) return others;
  return { skip: `needs ${python}` };
}

export interface Exabgp {
  /** Its messages about the neighbour, one JSON object each: `state`, `update`, `notification`. */
  readonly heard: readonly string[];
  /** A command of its API, e.g. `announce route 10.1.0.0/16 next-hop self`. */
  command(text: string): void;
  stop(): void;
}

/** Starts it with a neighbour made by {@link exabgpConfig}; it ends with the link. */
export async function startExabgp(link: BgpLink, neighbor: string, namespace = link.b): Promise<Exabgp> {
  const file = (name: string): string => path.join(link.folder, `exabgp.${name}`);
  const script = (name: string, text: string): string => {
    fs.writeFileSync(file(name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return file(name);
  };
  const [heardFile, commands] = [file('heard'), file('commands')];
  fs.writeFileSync(heardFile, '');
  fs.writeFileSync(commands, '');
  // Two processes of its API: one writes down what it is told, the other says what is written into a file; both end with it. It
  // takes one for dead that closes its output: hence no exec.
  const listener = script('listen.sh', `echo ready > ${heardFile}\ncat >> ${heardFile}\nexit`);
  const talker = script('talk.sh', `exec tail -n +1 -s 0.05 -f --pid=$PPID ${commands}`);
  const config = `process heard { run ${listener}; encoder json; }
process commands { run ${talker}; encoder text; }
${neighbor}`;
  fs.writeFileSync(file('conf'), config);
  const settings = [
    `PYTHONPATH=${tool('exabgp')}`,
    'exabgp.daemon.drop=false',
    'exabgp.daemon.user=root',
    'exabgp.api.cli=false',
    'exabgp.api.ack=false',
    'exabgp.log.destination=stdout',
    'exabgp.log.level=WARNING',
    'exabgp.tcp.bind=',
  ];
  const run = ['-c', 'import sys; from exabgp.application import main; sys.exit(main())', file('conf')];
  const child = link.spawn(namespace, 'env', [...settings, python, ...run]);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk));
  // Of the last line only a part may be there yet.
  const heard = (): string[] => fs.readFileSync(heardFile, 'utf8').split('\n').slice(0, -1).filter(Boolean);
  await until(
    () => {
      if (child.exitCode !== null) throw new Error('it ended');
      return heard().includes('ready');
    },
    { what: () => `ExaBGP to say something; it said ${output}`, deadlineMs: 20_000 },
  );
  return {
    get heard() {
      return heard();
    },
    command: (text) => fs.appendFileSync(commands, `${text}\n`),
    stop: () => void child.kill('SIGTERM'),
  };
}

/** AS 64513 at 10.9.0.2 against our 64512: both families on one session. `more` goes into the neighbour, `routes` into its announcements. */
export function exabgpConfig(options: { more?: string; routes?: readonly string[] } = {}): string {
  const routes = options.routes ?? ['10.60.1.0/24 next-hop 10.9.0.2', 'fd60:1::/64 next-hop fd09::2'];
  return `neighbor 10.9.0.1 {
  router-id 10.9.0.2;
  local-address 10.9.0.2;
  local-as 64513;
  peer-as 64512;
  hold-time 9;
  family { ipv4 unicast; ipv6 unicast; }
  capability { route-refresh enable; }
  api { processes [ heard, commands ]; neighbor-changes; receive { parsed; update; notification; refresh; } }
  ${options.more ?? ''}
  static { ${routes.map((route) => `route ${route};`).join(' ')} }
}
`;
}
