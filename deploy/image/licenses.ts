/** Licences as the packages themselves declare them, turned into SPDX expressions where that can be done for sure. */

export interface Licence {
  readonly expression?: string;
  readonly comment?: string;
}

/** Debian's short names (DEP-5) that mean one SPDX licence and nothing else. */
const ofDebian: Readonly<Record<string, string>> = {
  'GPL-1': 'GPL-1.0-only',
  'GPL-1+': 'GPL-1.0-or-later',
  'GPL-2': 'GPL-2.0-only',
  'GPL-2+': 'GPL-2.0-or-later',
  'GPL-2.0+': 'GPL-2.0-or-later',
  'GPL-3': 'GPL-3.0-only',
  'GPL-3+': 'GPL-3.0-or-later',
  'LGPL-2': 'LGPL-2.0-only',
  'LGPL-2+': 'LGPL-2.0-or-later',
  'LGPL-2.1': 'LGPL-2.1-only',
  'LGPL-2.1+': 'LGPL-2.1-or-later',
  'Apache-2': 'Apache-2.0',
  'Apache-2.0': 'Apache-2.0',
  'Artistic-2': 'Artistic-2.0',
  'Artistic-2.0': 'Artistic-2.0',
  'BSD-3-clause': 'BSD-3-Clause',
  'BSD-2-clause': 'BSD-2-Clause',
  Expat: 'MIT',
  ISC: 'ISC',
};

/** From a Debian copyright file. Old ones are prose: then only what it names of Debian's common licences is told, as a comment. */
export function debianLicence(copyright: string): Licence {
  const machineReadable = /^Format:.*copyright-format/m.test(copyright);
  if (!machineReadable) {
    const named = [...copyright.matchAll(/common-licenses\/([\w.+-]*\w)/g)].map(([, name]) => name!);
    if (named.length === 0) return { comment: "see the package's copyright file" };
    return { comment: `its copyright file refers to ${unique(named).join(', ')}` };
  }
  const names = unique([...copyright.matchAll(/^License: *(\S.*)$/gm)].map(([, name]) => name!.trim()));
  const expressions = names.map(expressionOf);
  if (expressions.every((one) => one !== undefined)) return { expression: unique(expressions).join(' AND ') };
  return { comment: `its copyright file names ${names.join(', ')}` };
}

/** One License field; alternatives (`GPL-2 or MIT`) and lists (`GPL-2+, Expat`) are told apart from plain names. */
function expressionOf(name: string): string | undefined {
  const split = (separator: RegExp, joiner: string): string | undefined => {
    const parts = name.split(separator).map((part) => ofDebian[part.trim()]);
    return parts.every((part) => part !== undefined) ? parts.join(joiner) : undefined;
  };
  const alternatives = / or /.test(name) ? split(/ or /, ' OR ') : undefined;
  return ofDebian[name] ?? (alternatives === undefined ? split(/ and |, /, ' AND ') : `(${alternatives})`);
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)].sort();
}

/** The `license` of a package.json; old forms of it are no SPDX expressions. */
export function npmLicence(declared: unknown): Licence {
  if (typeof declared === 'string' && /^[\w.+\-() ]+$/.test(declared) && !/^SEE /.test(declared))
    return { expression: declared };
  return { comment: `package.json says ${JSON.stringify(declared)}` };
}
