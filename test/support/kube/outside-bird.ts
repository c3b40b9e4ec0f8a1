/** BIRD on the host outside of a lone agent's node. */
import { spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { Bird } from '../bgp.ts';
import type { LoneAgent } from '../lone-agent.ts';

export async function outsideBird(t: Pick<TestContext, 'after'>, agent: LoneAgent, config: string): Promise<Bird> {
  const host = {
    folder: agent.directory,
    spawn: (netns: string, command: string, args: readonly string[]) => {
      const child = spawn('ip', ['netns', 'exec', netns, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
      t.after(() => child.kill('SIGKILL'));
      return child;
    },
  };
  const bird = new Bird(host, agent.outside, config);
  await bird.ready();
  return bird;
}
