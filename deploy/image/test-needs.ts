/** What tests of the image need of the machine, as options of `test`: absent, they are skipped and say why. */
import fs from 'node:fs';
import { distribution, toolPath } from '#setup';

const commands = ['apt-get', 'dpkg-deb', 'strip', 'unshare', 'chroot', 'tar'];

export function imageNeeds(): { readonly skip?: string } {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  const { id, version } = distribution();
  const lacking = [
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...(id === 'debian' && version === '12' ? [] : ['Debian 12']),
    ...commands.filter((command) => !folders.some((folder) => fs.existsSync(`${folder}/${command}`))),
    ...(toolPath('cniShim') === undefined ? ['cniShim'] : []),
  ];
  return lacking.length === 0 ? {} : { skip: `needs ${lacking.join(', ')}` };
}
