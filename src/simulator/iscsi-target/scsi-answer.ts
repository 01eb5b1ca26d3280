/** What a logical unit says to a command. */
import { fixedSense } from 'cdk8s-baremetal-runtime/deploy/iscsi/sense';

export interface ScsiAnswer {
  readonly status: number;
  readonly sense?: Uint8Array;
  readonly data?: Uint8Array;
}

const CHECK_CONDITION = 0x02;

export function checkCondition(key: number, asc: number, ascq = 0): ScsiAnswer {
  return { status: CHECK_CONDITION, sense: fixedSense(key, asc, ascq) };
}
