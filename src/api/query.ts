/**
 * What a path takes behind its `?`: each parameter at most once, as text; one that is unknown is a mistake, and said so. Schemas would do the
 * same, for 4.6 MB of compilers (measured).
 */
import { ApiError } from './errors.ts';

export interface ParameterRule {
  readonly required?: boolean;
  readonly charsMax?: number;
  readonly pattern?: RegExp;
  /** What a value is, for who gave another. */
  readonly is: string;
}

export type QueryRules = Readonly<Record<string, ParameterRule>>;

/** For `preHandler` of a route. @throws ApiError BAD_REQUEST that names the first parameter that is wrong. */
export function takes(rules: QueryRules): (request: { readonly query: unknown }) => Promise<void> {
  return async ({ query }) => checkQuery(query as Readonly<Record<string, unknown>>, rules);
}

function checkQuery(query: Readonly<Record<string, unknown>>, rules: QueryRules): void {
  for (const [name, value] of Object.entries(query)) {
    if (!Object.hasOwn(rules, name)) throw badRequest(`there is no parameter ${name}`);
    const { charsMax = Number.POSITIVE_INFINITY, pattern, is } = rules[name]!;
    if (typeof value !== 'string') throw badRequest(`parameter ${name} is given more than once`);
    if (value.length > charsMax || pattern?.test(value) === false) throw badRequest(`parameter ${name} must be ${is}`);
  }
  for (const [name, { required, is }] of Object.entries(rules)) {
    if (required && !Object.hasOwn(query, name)) throw badRequest(`parameter ${name} must be given: ${is}`);
  }
}

export function badRequest(message: string): ApiError {
  return new ApiError(message, { code: 'BAD_REQUEST' });
}
