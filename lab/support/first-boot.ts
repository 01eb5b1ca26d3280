/**
 * The wget of Debian's busybox has no -T and dies of it, and with it the word home of an image that has no curl. Until the image's own script does
 * without, the lab's copy of the image does; nothing happens to an image whose script is right.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SCRIPT = '/usr/lib/bms/first-boot';
const DEADLY = 'wget -q -T 10 ';
const environment = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' };

export function withWorkingWget({ disk, root }: { readonly disk: string; readonly root: string }, folder: string): void {
  const script = debugfs(root, `cat ${SCRIPT}`);
  if (!script.includes(DEADLY)) return;
  const file = join(folder, 'first-boot');
  writeFileSync(file, script.replace(DEADLY, 'wget -q '));
  const text = execFileSync('sfdisk', ['--json', disk], { env: environment, encoding: 'utf8' });
  const { partitions } = (JSON.parse(text) as { partitiontable: { partitions: { start: number }[] } }).partitiontable;
  for (const image of [root, `${disk}?offset=${(partitions.at(-1)?.start ?? 0) * 512}`]) {
    for (const request of [`rm ${SCRIPT}`, `write ${file} ${SCRIPT}`, `set_inode_field ${SCRIPT} mode 0100755`]) debugfs(image, request);
    if (debugfs(image, `cat ${SCRIPT}`).includes(DEADLY)) throw new Error(`${image} keeps its ${SCRIPT}`);
  }
  rmSync(file);
}

function debugfs(image: string, request: string): string {
  return execFileSync('debugfs', ['-w', '-R', request, image], { env: environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
