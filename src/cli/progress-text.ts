/** How far an image is, for a line of a table or a log: "42 % of 1152 MiB, 118 MB/s, 35 s left". */
import type { NodeSummary } from 'cdk8s-baremetal-contract/api/index';

export function progressText({ bytes, totalBytes, phase, bytesPerSecond, remainingSeconds }: NonNullable<NodeSummary['progress']>): string {
  const mib = (value: number): string => `${Math.ceil(value / 1024 ** 2)} MiB`;
  const share = totalBytes ? `${Math.min(100, Math.round((bytes / totalBytes) * 100))} % of ${mib(totalBytes)}` : mib(bytes);
  const what = [phase === 'verify' ? `${share} read back` : share];
  const rate = bytesPerSecond === undefined ? [] : [`${(bytesPerSecond / 1e6).toFixed(bytesPerSecond < 10e6 ? 1 : 0)} MB/s`];
  const left = remainingSeconds === undefined ? [] : [`${remainingSeconds} s left`];
  return [...what, ...rate, ...left].join(', ');
}
