/** One call of the plugin, read and answered. */
import type { Logger } from '#kit';
import type { Attachments } from './attachments.ts';
import type { Call, CallAnswer } from './caller.ts';
import { CniError, errorBody, toCniError } from './errors.ts';
import type { DelQueue } from './queue.ts';
import { answerVersion, type CniRequest, parseRequest } from './request.ts';
import type { PodDescriptors } from './wiring.ts';

export interface CommandDeps {
  readonly attachments: Attachments;
  readonly queue: DelQueue | undefined;
  /** Why no pod can be added now. */
  readonly notReady: () => string | undefined;
  readonly log: Logger;
  readonly onAnswered: (command: string, outcome: string) => void;
}

const commands: readonly string[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'];

/** Never rejects: whatever goes wrong is an answer. */
export async function answerCall(deps: CommandDeps, call: Call): Promise<CallAnswer> {
  const asked = call.environment['CNI_COMMAND'] ?? '';
  const command = commands.includes(asked) ? asked : 'other';
  try {
    const done = await run(deps, call, parseRequest(call.environment, call.stdin));
    deps.onAnswered(command, 'ok');
    return { exitCode: 0, stdout: '', ...done };
  } catch (error) {
    const cniError = toCniError(error);
    deps.onAnswered(command, call.caller.aborted ? 'hung_up' : cniError.failure.code.toLowerCase());
    if (!call.caller.aborted) logFailure(deps.log, call, cniError);
    return { exitCode: 1, stdout: errorBody(answerVersion(call.stdin), cniError) };
  }
}

async function run(deps: CommandDeps, call: Call, request: CniRequest): Promise<Partial<CallAnswer>> {
  const { attachments, queue } = deps;
  switch (request.command) {
    case 'ADD': {
      refuseUnready(deps, 'TRY_AGAIN');
      await queue?.drainOne(request.containerId, request.ifName);
      const { result, undo } = await attachments.add(request, descriptorsOf(call, request.netns), call.caller);
      return { stdout: `${JSON.stringify(result)}\n`, undo };
    }
    case 'DEL':
      await attachments.del(request);
      return {};
    case 'CHECK':
      await attachments.check(request, descriptorsOf(call, request.netns));
      return {};
    case 'GC':
      await attachments.gc(request);
      return {};
    case 'STATUS':
      refuseUnready(deps, 'NOT_AVAILABLE');
      return {};
  }
}

function refuseUnready(deps: CommandDeps, code: 'TRY_AGAIN' | 'NOT_AVAILABLE'): void {
  const reason = deps.notReady();
  if (reason === undefined) return;
  throw new CniError(code, `poplin agent cannot add pods yet: ${reason}${code === 'TRY_AGAIN' ? '; try again' : ''}`);
}

function descriptorsOf(call: Call, netns: string): PodDescriptors {
  const [namespace, socket] = call.descriptors;
  if (namespace && socket) return { netns: namespace, socket };
  const why = call.environment['POPLIN_NETNS_ERROR'] ?? 'it was not passed on';
  // Code 3: nothing is left to clean up. Only for a namespace that is gone, not for a path that never was one.
  const code = /No such file|No such process/.test(why) ? 'UNKNOWN_CONTAINER' : 'INVALID_ENVIRONMENT';
  throw new CniError(code, `CNI_NETNS ${netns} cannot be entered: ${why}`);
}

function logFailure(log: Logger, call: Call, error: CniError): void {
  const fields = {
    command: call.environment['CNI_COMMAND'],
    containerId: call.environment['CNI_CONTAINERID'],
    args: call.environment['CNI_ARGS'],
    code: error.cniCode,
    reason: error.message,
    details: error.failure.details,
  };
  if (error.failure.code === 'INTERNAL')
    log.error({ ...fields, stack: (error.cause as Error | undefined)?.stack }, 'CNI call failed');
  else log.warn(fields, 'CNI call refused');
}
