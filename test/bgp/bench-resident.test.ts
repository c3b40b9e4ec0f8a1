import assert from 'node:assert/strict';
import { test } from 'node:test';
import { residentKib } from '../bench/bgp/resident.ts';

/** Of a speaker: recorded, shortened to what has most. */
const speaker = `0074a000-03044000 r-xp 0034a000 fe:00 5570829                            /usr/bin/node
Size:              41960 kB
KernelPageSize:        4 kB
Rss:               24540 kB
Pss:                4229 kB
Pss_Dirty:             0 kB
Shared_Clean:      24284 kB
Shared_Dirty:          0 kB
Private_Clean:       256 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
1bb2c000-1c0f8000 rw-p 00000000 00:00 0                                  [heap]
Size:               5936 kB
Rss:                5636 kB
Pss:                5636 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:      5636 kB
VmFlags: rd wr mr mw me ac
7f2a40021000-7f2a44000000 ---p 00000000 00:00 0
Size:              65404 kB
Rss:                   0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
7f2a4c400000-7f2a4c426000 r--p 00000000 fe:00 1313                       /usr/lib/x86_64-linux-gnu/libc.so.6
Size:                152 kB
Rss:                 152 kB
Shared_Clean:        152 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
7f2a4e000000-7f2a4e010000 r-xp 00000000 00:1f 77                         /opt/poplin/koffi.node
Size:                292 kB
Rss:                 292 kB
Shared_Clean:          0 kB
Shared_Dirty:        284 kB
Private_Clean:         0 kB
Private_Dirty:         8 kB
`;
/** Of its process of BFD. */
const bfd = `0074a000-03044000 r-xp 0034a000 fe:00 5570829                            /usr/bin/node
Size:              41960 kB
Rss:               23128 kB
Pss:                3010 kB
Shared_Clean:      23128 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
0aa1d000-0accb000 rw-p 00000000 00:00 0                                  [heap]
Size:               2744 kB
Rss:                2744 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:      2744 kB
7f11d0400000-7f11d0426000 r--p 00000000 fe:00 1313                       /usr/lib/x86_64-linux-gnu/libc.so.6
Size:                152 kB
Rss:                 152 kB
Shared_Clean:        152 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
7f11d2000000-7f11d2010000 r-xp 00000000 00:1f 77                         /opt/poplin/koffi.node
Size:                292 kB
Rss:                 312 kB
Shared_Clean:          0 kB
Shared_Dirty:        312 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
`;

test('resident memory: of one process its Rss, of several what they share once', () => {
  const rss = (text: string): number =>
    [...text.matchAll(/^Rss: +(\d+)/gm)].reduce((sum, [, kib]) => sum + Number(kib), 0);
  assert.equal(residentKib([speaker]), rss(speaker));
  assert.equal(residentKib([bfd]), rss(bfd));
  const shared = 24_284 + 152 + 312;
  assert.equal(residentKib([speaker, bfd]), 256 + 5636 + 8 + 2744 + shared);
  assert.equal(residentKib([bfd, speaker]), residentKib([speaker, bfd]));
});

test('resident memory: whoever else maps the same pages changes nothing', () => {
  const alone = speaker
    .replace('Shared_Clean:      24284', 'Shared_Clean:          0')
    .replace('Private_Clean:       256', 'Private_Clean:     24540');
  assert.notEqual(alone, speaker);
  assert.equal(residentKib([alone]), residentKib([speaker]));
});

test("resident memory: other parts of one file, and memory of nobody's file, are not taken for one another", () => {
  const parts = speaker.replaceAll('0034a000 fe:00', '0134a000 fe:00');
  assert.equal(residentKib([speaker, parts]), residentKib([speaker]) + 24_284 + 256 + 8 + 5636);
  const heap = (start: string): string =>
    `${start}-ffff0000 rw-p 00000000 00:00 0 [heap]\nShared_Dirty:        100 kB\nPrivate_Dirty:        40 kB\n`;
  assert.equal(residentKib([heap('1000'), heap('1000')]), 180, 'of a fork');
  assert.equal(residentKib([heap('1000'), heap('2000')]), 280);
});
