import { NO_DATA, type Pdu, type PduOf } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { SequenceNumbers } from 'cdk8s-baremetal-runtime/deploy/iscsi/sequence-numbers';
import { Tasks } from 'cdk8s-baremetal-runtime/deploy/iscsi/tasks';
import type { PduTransport } from 'cdk8s-baremetal-runtime/deploy/iscsi/transport';
import { VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { describe, expect, it } from 'vitest';

const BURST = 65_536;

/** One write of two bursts, of which nothing was sent unasked. */
function writing() {
  const sent: Pdu[] = [];
  const tasks = new Tasks({
    transport: { send: (pdu: Pdu) => void sent.push(pdu) } as PduTransport,
    clock: new VirtualClock(),
    portal: '192.0.2.7:3260',
    parameters: {
      digests: { header: false, data: false },
      initialR2T: true,
      immediateData: false,
      maxBurstBytes: BURST,
      firstBurstBytes: BURST,
      maxOutstandingR2T: 8,
      maxSendBytes: 8192,
      maxReceiveBytes: 8192,
    },
    numbers: new SequenceNumbers({ cmdSn: 1, maxCmdSn: 9, expStatSn: 1 }),
    timeoutMs: 30_000,
    nextTag: () => 7,
    abortTask: () => Promise.resolve(0),
    onFail: () => undefined,
  });
  tasks.execute({ name: 'WRITE(10)', lun: 1, cdb: new Uint8Array(10), dataOut: new Uint8Array(2 * BURST) }).catch(() => undefined);
  const request = (r2tSn: number, offset: number): PduOf<'r2t'> => ({
    kind: 'r2t',
    lun: 1,
    itt: 7,
    ttt: 1,
    statSn: 1,
    expCmdSn: 2,
    maxCmdSn: 9,
    r2tSn,
    offset,
    desiredBytes: BURST,
    data: NO_DATA,
  });
  const dataSent = (): number => sent.reduce((sum, pdu) => sum + (pdu.kind === 'data-out' ? pdu.data.length : 0), 0);
  return { tasks, request, dataSent };
}

describe('what a target asks for', () => {
  it('is sent, burst by burst', () => {
    const { tasks, request, dataSent } = writing();
    tasks.takeRequest(request(0, 0));
    tasks.takeRequest(request(1, BURST));
    expect(dataSent()).toBe(2 * BURST);
  });

  it.each([
    ['again', 0],
    ['in part again', BURST / 2],
  ])('is not sent %s: a request is 48 bytes, and its answer a queue of any length', (_, offset) => {
    const { tasks, request, dataSent } = writing();
    tasks.takeRequest(request(0, 0));
    expect(() => tasks.takeRequest(request(1, offset))).toThrow('it asked again for what it has been sent');
    expect(dataSent()).toBe(BURST);
  });
});
