/**
 * A Kubernetes API server for tests: the one that KUBECONFIG names. Only when BMS_TEST_CLUSTER=1 says that tests may write to
 * it, so that nobody's real cluster is hit by `npm test`.
 */
import { execFileSync, spawnSync } from 'node:child_process';

const missing =
  process.env.BMS_TEST_CLUSTER !== '1' || !process.env.KUBECONFIG
    ? 'no cluster for tests (set KUBECONFIG and BMS_TEST_CLUSTER=1)'
    : spawnSync('kubectl', ['version', '--client']).error
      ? 'no kubectl (Debian package kubernetes-client)'
      : undefined;

/** Skips a suite aloud where there is no cluster. */
export function withoutCluster(suite: string): boolean {
  if (missing !== undefined) console.warn(`SKIPPED ${suite}: ${missing}`);
  return missing !== undefined;
}

/** Runs kubectl and returns what it prints. */
export function kubectl(...args: string[]): string {
  return execFileSync('kubectl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/**
 * Waits until the API server serves what the file defines. `kubectl wait` gives up at once on an object that has no conditions
 * yet, which a definition has for its first moment; here that means the same as a condition that is not met.
 */
export function established(file: string): void {
  for (let tries = 0; ; tries++) {
    try {
      kubectl('wait', '--for=condition=Established', '--timeout=30s', '-f', file);
      return;
    } catch (error) {
      if (tries === 20 || !/conditions accessor error/.test(String(error))) throw error;
      execFileSync('sleep', ['0.1']);
    }
  }
}
