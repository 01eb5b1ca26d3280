import { readFileSync } from 'node:fs';

/** Mount points of this process; none where there is no /proc. */
export function mountPoints(): string[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const point = line.split(' ')[4]; // proc(5): the fifth field, with blanks and backslashes as octal escapes
    if (point === undefined || point === '/') return [];
    return [point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))];
  });
}
