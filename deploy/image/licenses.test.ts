import assert from 'node:assert/strict';
import { test } from 'node:test';
import { debianLicence, npmLicence } from './licenses.ts';

test('a machine-readable copyright file gives an expression where every name of it is known, else a comment', () => {
  const of = (...names: readonly string[]): string =>
    [
      'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/',
      ...names.map((name) => `License: ${name}`),
    ].join('\n');
  assert.deepEqual(debianLicence(of('GPL-2+', 'Expat', 'GPL-2+')), { expression: 'GPL-2.0-or-later AND MIT' });
  assert.deepEqual(debianLicence(of('GPL-2 or Expat', 'ISC')), { expression: '(GPL-2.0-only OR MIT) AND ISC' });
  assert.deepEqual(debianLicence(of('GPL-2', 'custom')), { comment: 'its copyright file names GPL-2, custom' });
});

test('prose is only quoted for the licences that it refers to', () => {
  const prose = 'On Debian systems see /usr/share/common-licenses/GPL-2, and `/usr/share/common-licenses/LGPL-2.1`.';
  assert.deepEqual(debianLicence(prose), { comment: 'its copyright file refers to GPL-2, LGPL-2.1' });
  assert.equal(debianLicence('public domain').expression, undefined);
});

test('package.json: an expression is taken as it is, anything else is quoted', () => {
  assert.deepEqual(npmLicence('(MIT OR Apache-2.0)'), { expression: '(MIT OR Apache-2.0)' });
  assert.deepEqual(npmLicence('SEE LICENSE IN x'), { comment: 'package.json says "SEE LICENSE IN x"' });
  assert.deepEqual(npmLicence(undefined), { comment: 'package.json says undefined' });
});
