/**
 * Graceful restart of the real agent as its ToR sees it (RFC 4724): what the first OPEN after each kind of end says, which routes
 * stay, and what a configured peer that is dead costs.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { createApiClient } from '#api';
import { type Lab, nodePaths, restartAgent } from '#lab';
import { smallTopology, withLab } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { tool } from '../support/tools.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({
  root: true,
  commands: ['ip', 'iptables', 'ipset'],
  provided: ['bird', 'birdc', 'cniShim'],
});

// Nobody is there: it is never heard of again in the tests below.
const deadPeer = `---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: nobody }
spec: { node: n1, peerIP: 192.0.2.6, asNumber: 65009 }
`;

class Tor {
  readonly #lab: Lab;
  constructor(lab: Lab) {
    this.#lab = lab;
  }
  ask(command: string): string {
    const control = path.join(this.#lab.paths.directory, 'routers', 'tor.ctl');
    return execFileSync(tool('birdc'), ['-s', control, ...command.split(' ')], { encoding: 'utf8' });
  }
  get session(): string {
    return this.ask('show protocols all to_n1');
  }
  get established(): boolean {
    return /BGP state:\s+Established/.test(this.session);
  }
  /** It waits for End-of-RIB of the agent. */
  get restarting(): boolean {
    return /Neighbor graceful restart active/.test(this.session);
  }
  /** What the agent's OPEN of the session in force said of graceful restart. */
  get restart(): { recovery: boolean; preserved: string } {
    const neighbor = this.session.split('Neighbor capabilities')[1]?.split('Session:')[0] ?? '';
    return {
      recovery: /Restart recovery/.test(neighbor),
      preserved: /AF preserved:(.*)/.exec(neighbor)?.[1]?.trim() ?? '',
    };
  }
  get routes(): readonly string[] {
    const table = this.ask('show route protocol to_n1');
    return ['10.42.1.0/24', 'fd00:42:1::/64'].filter((prefix) => table.includes(prefix));
  }
}

const both = ['10.42.1.0/24', 'fd00:42:1::/64'];

async function settled(lab: Lab): Promise<void> {
  const api = createApiClient({ socketPath: nodePaths(lab.paths, 'n1').apiSocket });
  await until(
    async () => {
      const { bgp, routes } = await api.status();
      // The mesh and the ToR, not the dead one. Its share of the wait is the grace, not the 30 s of deferral.
      return bgp.peersEstablished === 2 && bgp.waitingForEndOfRib.length === 0 && routes.stale === 0;
    },
    { what: 'n1 to be done with its restart', deadlineMs: 20_000, intervalMs: 50 },
  );
}

function end(lab: Lab, signal: NodeJS.Signals): void {
  process.kill(lab.state.processes.find(({ role }) => role === 'agent n1')!.pid, signal);
}

test(
  'graceful restart of the agent: R and F bits, routes, a dead peer; SIGTERM keeps, SIGQUIT drains',
  mayRun,
  async () => {
    await withLab(smallTopology + deadPeer, async (first) => {
      let lab = first;
      const tor = new Tor(lab);
      await until(() => tor.established && tor.routes.length === 2, { what: 'the first session', deadlineMs: 60_000 });
      assert.deepEqual(tor.restart, { recovery: false, preserved: '' }, 'nothing was there before the first start');
      await settled(lab);

      for (const signal of ['SIGKILL', 'SIGKILL', 'SIGTERM'] as const) {
        end(lab, signal);
        await until(() => !tor.established, { what: `the ToR to notice ${signal}` });
        assert.deepEqual(tor.routes, both, `kept after ${signal}`);
        assert.doesNotMatch(tor.session, /Received:/, 'without a NOTIFICATION');
        lab = await restartAgent(lab, 'n1');
        await until(() => tor.established, { what: `the session after ${signal}`, deadlineMs: 60_000 });
        // A second restart before our End-of-RIB takes what was not announced again (RFC 4724 4.2).
        await until(() => !tor.restarting, { what: `our End-of-RIB after ${signal}`, deadlineMs: 20_000 });
        assert.deepEqual(tor.restart, { recovery: true, preserved: 'ipv4 ipv6' }, `the first OPEN after ${signal}`);
        if (signal === 'SIGTERM') await settled(lab);
      }
      assert.deepEqual(tor.routes, both);

      end(lab, 'SIGQUIT');
      await until(() => tor.routes.length === 0, { what: 'the ToR to drop the routes of a node that is drained' });
      assert.match(tor.session, /Received: Administrative shutdown/);
    });
  },
);
