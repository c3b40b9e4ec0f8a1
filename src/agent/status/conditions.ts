/** Conditions as Kubernetes keeps them (metav1.Condition): the time of the last transition stays while the status does. */

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** A condition as it is now. */
export interface ConditionNow {
  readonly type: string;
  readonly status: ConditionStatus;
  /** CamelCase, for programs. */
  readonly reason: string;
  /** For people: object, value, remedy. */
  readonly message: string;
  readonly observedGeneration?: number;
}

export interface Condition extends ConditionNow {
  /** RFC 3339 to the second, as metav1.Time. */
  readonly lastTransitionTime: string;
}

/** Kubernetes allows 32768; nobody reads that much. */
export const MESSAGE_CHARACTERS_MAX = 1024;

export function bounded(text: string, charactersMax = MESSAGE_CHARACTERS_MAX): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`;
}

export function condition(
  type: string,
  status: ConditionStatus | boolean,
  reason: string,
  message: string,
): ConditionNow {
  const word = typeof status === 'boolean' ? (status ? 'True' : 'False') : status;
  return { type, status: word, reason, message: bounded(message) };
}

/** `at`: RFC 3339 time of a transition that is seen now. */
export function withTransitionTimes(
  now: readonly ConditionNow[],
  before: readonly Condition[],
  at: string,
): readonly Condition[] {
  return now.map((each) => {
    const earlier = before.find(({ type }) => type === each.type);
    return { ...each, lastTransitionTime: earlier?.status === each.status ? earlier.lastTransitionTime : at };
  });
}

/** Something that an operator waits for has happened: a condition came, went, or has another status or reason. */
export function conditionsDiffer(one: readonly ConditionNow[], other: readonly ConditionNow[]): boolean {
  const essence = (list: readonly ConditionNow[]): string =>
    list
      .map(({ type, status, reason }) => `${type}=${status}:${reason}`)
      .sort()
      .join();
  return essence(one) !== essence(other);
}

/** RFC 3339 to the second: metav1.Time knows no fractions. */
export function timestamp(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 19)}Z`;
}

/** `a, b, c and 4 more` */
export function listed(items: readonly string[], max = 5): string {
  const shown = items.slice(0, max).join(', ');
  return items.length > max ? `${shown} and ${items.length - max} more` : shown;
}
