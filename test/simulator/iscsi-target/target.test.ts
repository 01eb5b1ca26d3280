import { type IscsiDisk, makeIsid, openSession } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { BHS_BYTES, NO_TAG, type Pdu } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { framePdu } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu-stream';
import { testUnitReady } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { PduTransport } from 'cdk8s-baremetal-runtime/deploy/iscsi/transport';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf, type Lab, MIB, withLab } from '../../runtime/deploy/iscsi/lab.ts';

const pause = (lab: Lab, ms: number): Promise<void> => new Promise((resolve) => lab.clock.after(ms, resolve));
const fill = (value: number): Uint8Array => new Uint8Array(4 * MIB).fill(value);

describe('session reinstatement', () => {
  it.each([
    ['writes that are waiting in the target', 500],
    ['writes that are still being sent', 1],
  ])('the older controller’s late writes never land: %s', (_, delayMs) =>
    withLab({}, async (lab) => {
      const older = await lab.open();
      lab.target.faults.onCommand = ({ opcode }) => (opcode === 0x2a ? { delayMs } : undefined);
      const late = older.write(0, fill(0xaa));
      late.catch(() => undefined);
      await pause(lab, delayMs / 2);
      const newer = await lab.open();
      expect(lab.target.sessions()).toHaveLength(1);
      // from here on not one byte of the older session may reach the disk
      const atTakeover = Buffer.from(await lab.disk.read(0, 4 * MIB));
      lab.target.faults.onCommand = undefined;
      expect(await codeOf(late)).toBe('ISCSI_CONNECTION_LOST');
      await pause(lab, 5000);
      expect(Buffer.compare(await lab.disk.read(0, 4 * MIB), atTakeover)).toBe(0);
      await newer.write(0, fill(0xbb));
      expect(Buffer.compare(await lab.disk.read(0, 4 * MIB), fill(0xbb))).toBe(0);
      expect(await codeOf(older.write(0, fill(0xaa)))).toBe('ISCSI_CONNECTION_LOST');
      await newer.close();
    }),
  );

  it('a write that has reached the device ends before the new login completes', () =>
    withLab({}, async (lab) => {
      let writing = 0;
      const write = lab.disk.write.bind(lab.disk);
      lab.disk.write = async (offset, data) => {
        writing++;
        await pause(lab, 700);
        await write(offset, data);
        writing--;
      };
      const older = await lab.open();
      older.write(0, fill(0xaa)).catch(() => undefined);
      await pause(lab, 100);
      expect(writing).toBeGreaterThan(0);
      await lab.open();
      expect(writing).toBe(0);
    }));

  it.each([
    ['another ISID', { isid: makeIsid(2, 7) }],
    ['another name', { initiatorName: 'iqn.2026-11.io.bms:other' }],
  ])('%s is a session beside it', (_, overrides) =>
    withLab({}, async (lab) => {
      const one = await lab.open();
      const two = await lab.open(overrides);
      expect(lab.target.sessions()).toHaveLength(2);
      await one.write(0, fill(1).subarray(0, 512));
      await two.write(512, fill(2).subarray(0, 512));
      await Promise.all([one.close(), two.close()]);
      expect(lab.target.sessions()).toHaveLength(0);
    }),
  );

  it('of many at once the last one wins', () =>
    withLab({}, async (lab) => {
      const opened = await Promise.allSettled(Array.from({ length: 8 }, () => lab.open()));
      await pause(lab, 100);
      const disks = opened.flatMap((outcome): IscsiDisk[] => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      expect(lab.target.sessions()).toHaveLength(1);
      expect(disks.filter((disk) => !disk.over.aborted)).toHaveLength(1);
    }));
});

describe('the target', () => {
  it('a discovery session does not drop a session', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      const { targetName: _, ...base } = lab.base();
      const discovery = await openSession(base);
      await discovery.logout();
      expect(lab.target.sessions()).toHaveLength(1);
      await disk.close();
    }));

  it('tells UNIT ATTENTION once after a login, as after power on', () =>
    withLab({}, async (lab) => {
      const session = await openSession(lab.base());
      expect(await session.execute({ ...testUnitReady(), lun: 1 })).toMatchObject({ status: 2, sense: { key: 6, asc: 0x29 } });
      expect(await session.execute({ ...testUnitReady(), lun: 1 })).toMatchObject({ status: 0 });
      expect(await session.execute({ ...testUnitReady(), lun: 3 })).toMatchObject({ status: 2, sense: { key: 5, asc: 0x25 } });
      await session.logout();
    }));

  it('a device that fails is a hardware error, not a lost session', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      lab.disk.write = () => Promise.reject(new Error('no space left'));
      expect(await codeOf(disk.write(0, fill(1)))).toBe('ISCSI_SCSI_HARDWARE_ERROR');
      expect((await disk.read(0, 512)).length).toBe(512);
      await disk.close();
    }));

  it('is strict: an initiator that breaks the rules loses its connection', () =>
    withLab({ target: { preferences: { initialR2T: true, immediateData: false } } }, async (lab) => {
      const breaches: ((send: (pdu: Pdu) => void, numbers: { cmdSn: number; expStatSn: number }) => void)[] = [
        // immediate data that was not agreed to
        (send, numbers) => send(write(numbers, { data: new Uint8Array(512) })),
        // unsolicited data that was not agreed to
        (send, numbers) => send(write(numbers, { final: false })),
        // a command out of order
        (send, { cmdSn, expStatSn }) => send(write({ cmdSn: cmdSn + 5, expStatSn }, {})),
        // data that nobody asked for
        (send, numbers) => {
          send(write(numbers, {}));
          send({
            kind: 'data-out',
            final: true,
            lun: 1,
            itt: 77,
            ttt: 12_345,
            expStatSn: 0,
            dataSn: 0,
            offset: 0,
            data: new Uint8Array(512),
          });
        },
      ];
      for (const breach of breaches) {
        let cmdSn = 0;
        const send = PduTransport.prototype.send;
        const session = await openSession({ ...lab.base(), random: { bytes: (length) => new Uint8Array(length) } });
        const { transport } = (session as unknown as { parts: { transport: PduTransport } }).parts;
        breach((pdu) => send.call(transport, pdu), { cmdSn: cmdSn++, expStatSn: 0 });
        await new Promise((resolve) => session.over.addEventListener('abort', resolve));
        expect(session.over.reason).toMatchObject({ code: 'ISCSI_CONNECTION_LOST' });
      }
      expect((await lab.disk.read(0, MIB)).every((byte) => byte === 0)).toBe(true);
    }));

  it('rejects an opcode that it does not know, and goes on', () =>
    withLab({}, async (lab) => {
      const session = await openSession({ ...lab.base(), times: { nopIntervalMs: 60_000 } });
      const { transport } = (session as unknown as { parts: { transport: PduTransport } }).parts;
      transport.onPdu = (pdu) => seen.push(pdu.kind);
      const seen: string[] = [];
      const header = Buffer.alloc(BHS_BYTES);
      header[0] = 0x10; // SNACK, which recovery level 0 does not have
      const { connection } = transport as unknown as { connection: { write(data: Uint8Array): Promise<void> } };
      await connection.write(header);
      await pause(lab, 10);
      expect(seen).toEqual(['reject']);
    }));

  it('garbage at any time takes down nothing but its connection', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open({ isid: makeIsid(9, 9) });
      const chunks = fc.sample(fc.uint8Array({ maxLength: 300 }), { numRuns: 60, seed: 7 });
      for (const chunk of chunks) {
        const { network, portal } = lab.base();
        const connection = await network.connect(portal);
        await connection.write(chunk);
        await pause(lab, 1);
        connection.destroy();
      }
      for (const chunk of chunks) {
        const session = await openSession(lab.base());
        const { transport } = (session as unknown as { parts: { transport: PduTransport } }).parts;
        const { connection } = transport as unknown as { connection: { write(data: Uint8Array): Promise<void> } };
        await connection.write(chunk);
        await pause(lab, 1);
        session.destroy();
      }
      await disk.write(0, fill(3));
      expect(Buffer.compare(await lab.disk.read(0, 4 * MIB), fill(3))).toBe(0);
      await disk.close();
      await pause(lab, 100);
      expect(lab.target.sessions()).toHaveLength(0);
    }));

  it('frames what it is told to', () => {
    const ping: Pdu = { kind: 'nop-in', lun: 0, itt: NO_TAG, ttt: 1, statSn: 0, expCmdSn: 0, maxCmdSn: 0, data: Buffer.from('hello') };
    expect(framePdu(ping, { header: true, data: true }).map((piece) => piece.length)).toEqual([52, 5, 7]);
  });
});

function write(numbers: { cmdSn: number; expStatSn: number }, overrides: { data?: Uint8Array; final?: boolean }): Pdu {
  return {
    kind: 'scsi-command',
    immediate: false,
    final: true,
    read: false,
    write: true,
    attribute: 1,
    lun: 1,
    itt: 77,
    expectedBytes: 4096,
    cdb: Buffer.from('2a000000000000000800000000000000', 'hex'),
    data: new Uint8Array(0),
    ...numbers,
    ...overrides,
  };
}
