/** The HTTP API of a node's agent, on its unix socket. */
import http from 'node:http';
import type { Lab } from '../lab.ts';
import { nodePaths } from '../names.ts';

const timeoutMs = 2_000;

export interface AgentPeer {
  readonly name: string;
  readonly state: string;
}

/** BGP sessions of an agent; an empty list while it does not answer. */
export async function agentPeers(lab: Lab, node: string): Promise<readonly AgentPeer[]> {
  const body = await get(nodePaths(lab.paths, node).apiSocket, '/v1/bgp/peers');
  return Array.isArray(body) ? (body as AgentPeer[]) : [];
}

function get(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve) => {
    const request = http.get({ socketPath, path, timeout: timeoutMs }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(response.statusCode === 200 ? JSON.parse(text) : undefined));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined)); // not listening (yet, or any more)
  });
}
