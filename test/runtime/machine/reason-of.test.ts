/** The words of an error on a machine's record. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';
import { codeIn, reasonOf } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';

const errors = defineErrors('Errors of a test', {
  TEST_INNER: entry<{ what: string }>({ message: ({ what }) => `${what} is broken`, cure: 'Mend it' }),
  TEST_OUTER: entry<{ reason: string }>({ message: ({ reason }) => `it cannot be done: ${reason}`, cure: 'See there' }),
});
const inner = errors.TEST_INNER({ what: 'the disk' });

describe('a reason', () => {
  it.each([
    ['no code', new Error('ECONNREFUSED'), 'ECONNREFUSED', undefined],
    ['no error', 'gone', 'gone', undefined],
    ['a code', inner, 'the disk is broken [TEST_INNER]', 'TEST_INNER'],
    [
      'the code of what its sentence ends with',
      errors.TEST_OUTER({ reason: inner.message }, { cause: inner }),
      'it cannot be done: the disk is broken [TEST_INNER]',
      'TEST_INNER',
    ],
    [
      'its own code where the cause is not told',
      errors.TEST_OUTER({ reason: 'secret' }, { cause: inner }),
      'it cannot be done: secret [TEST_OUTER]',
      'TEST_OUTER',
    ],
    [
      'the code of what a plain error passes on',
      new Error(`not on: ${inner.message}`, { cause: inner }),
      'not on: the disk is broken [TEST_INNER]',
      'TEST_INNER',
    ],
  ])('has %s', (_, error, text, code) => {
    expect([reasonOf(error), codeIn(reasonOf(error))]).toEqual([text, code]);
  });

  it('keeps the code where the sentence is too long', () => {
    const reason = reasonOf(errors.TEST_INNER({ what: 'x'.repeat(2_000) }));
    expect([reason.length < 500, codeIn(reason)]).toEqual([true, 'TEST_INNER']);
  });
});
