/** Names, at the end of a run, the tests that passed only when tried again: no failure of the change, and somebody's to look into. */
import type { Reporter, TestCase } from 'vitest/node';

export class SecondTries implements Reporter {
  readonly #lucky: TestCase[] = [];

  onTestCaseResult(test: TestCase): void {
    if (test.diagnostic()?.flaky) this.#lucky.push(test);
  }

  onTestRunEnd(): void {
    for (const { module, fullName } of this.#lucky) console.warn(`PASSED AT THE SECOND TRY: ${module.relativeModuleId} > ${fullName}`);
  }
}
