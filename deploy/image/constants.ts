import { parseSync, type VariableDeclaration, Visitor } from 'oxc-parser';

interface Span {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Makes constants of the variables at the top of a module that have one value for good. esbuild makes `var` of each `const` and class there: V8 then reads
 * the variable wherever it is used, and checks what it finds, where it puts the value of a constant into what it compiles.
 *
 * @param text of a module that nothing else is to be put into. @throws Error when it is none
 */
export function withConstants(text: string): string {
  const { program, errors } = parseSync('bundle.mjs', text);
  if (errors.length > 0) throw new Error(`the bundle cannot be read: ${errors[0]!.message}`);
  const variables = program.body.flatMap((one) =>
    one.type === 'VariableDeclaration' && one.kind === 'var' ? [one] : [],
  );
  const changing = new Set<string>();
  /** All names in a pattern, which are more than are assigned. */
  const assigned = (target: Span): void => {
    if (target.type === 'MemberExpression' || target.type === 'VariableDeclaration') return;
    for (const [name] of text.slice(target.start, target.end).matchAll(/[\w$]+/g)) changing.add(name);
  };
  new Visitor({
    AssignmentExpression: ({ left }) => assigned(left),
    UpdateExpression: ({ argument }) => assigned(argument),
    ForInStatement: ({ left }) => assigned(left),
    ForOfStatement: ({ left }) => assigned(left),
  }).visit(program);
  const declared = new Set<string>();
  for (const { id } of variables.flatMap(({ declarations }) => declarations)) {
    if (id.type !== 'Identifier') continue;
    if (declared.has(id.name)) changing.add(id.name);
    declared.add(id.name);
  }
  let out = '';
  let end = 0;
  for (const variable of variables) {
    out += text.slice(end, variable.start) + split(variable, changing, text);
    ({ end } = variable);
  }
  return out + text.slice(end);
}

/** One declaration as several of either kind, in the order in which they were. */
function split({ declarations }: VariableDeclaration, changing: ReadonlySet<string>, text: string): string {
  let out = '';
  let kind = '';
  for (const { id, init, start, end } of declarations) {
    const own = init && id.type === 'Identifier' && !changing.has(id.name) ? 'const' : 'var';
    out += own === kind ? ',' : `${kind === '' ? '' : ';'}${own} `;
    out += text.slice(start, end);
    kind = own;
  }
  return `${out};`;
}
