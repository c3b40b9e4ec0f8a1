/** Routers on the host outside of a lone agent's node. */
import { spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { Bird, type BirdHost } from './bgp.ts';
import type { LoneAgent } from './lone-agent.ts';

/** Where they run: in the namespace `b`, until the test ends. */
export function outsideHost(t: Pick<TestContext, 'after'>, agent: LoneAgent): BirdHost & { readonly b: string } {
  return {
    b: agent.outside,
    folder: agent.directory,
    spawn: (netns, command, args) => {
      const child = spawn('ip', ['netns', 'exec', netns, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
      t.after(() => child.kill('SIGKILL'));
      return child;
    },
  };
}

export async function outsideBird(t: Pick<TestContext, 'after'>, agent: LoneAgent, config: string): Promise<Bird> {
  const bird = new Bird(outsideHost(t, agent), agent.outside, config);
  await bird.ready();
  return bird;
}
