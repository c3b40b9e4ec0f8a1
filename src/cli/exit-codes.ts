/** What the exit code of every command says; scripts rely on it. */
export const exitCode = {
  ok: 0,
  /** The answer is no (not ready, no such route, no such pod here), or something failed. */
  negative: 1,
  /** Wrong arguments or configuration. */
  usage: 2,
  /** The agent does not answer on its socket. */
  agentUnreachable: 3,
  /** Another agent runs with the same directories. */
  locked: 4,
} as const;

export const exitCodesHelp = `
Exit codes:
  0  done, and the answer is yes
  1  the answer is no (not ready, no such route, pod not on this node), or something failed
  2  wrong arguments or configuration
  3  the agent does not answer on its socket
  4  another agent runs with the same directories`;
