import { openSession, type SessionOptions } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { testUnitReady, transfer } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { describeSense, parseSense } from 'cdk8s-baremetal-runtime/deploy/iscsi/sense';
import type { CommandFault, ObservedCommand } from 'cdk8s-baremetal-simulator/iscsi-target/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf, FUZZ_RUNS, type Lab, MIB, withLab } from './lab.ts';

const WRITE10 = 0x2a;
const READ10 = 0x28;

/** Answers the first `times` commands of this opcode with `fault`. */
function first(times: number, opcode: number, fault: CommandFault): (command: ObservedCommand) => CommandFault | undefined {
  let left = times;
  return (command) => (command.opcode === opcode && left-- > 0 ? fault : undefined);
}

const block = new Uint8Array(4096).fill(0x5a);
const landed = async (lab: Lab): Promise<boolean> => (await lab.disk.read(0, 4096)).every((byte) => byte === 0x5a);

describe('what a disk says in passing is waited out', () => {
  it.each<[string, CommandFault, number]>([
    ['busy', { status: 0x08 }, 5],
    ['task set full', { status: 0x28 }, 5],
    ['unit attention', { sense: [6, 0x29, 0] }, 3],
    ['becoming ready', { sense: [2, 0x04, 0x01] }, 5],
  ])('%s', (_, fault, times) =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      lab.target.faults.onCommand = first(times, WRITE10, fault);
      await disk.write(0, block);
      expect(await landed(lab)).toBe(true);
      await disk.close();
    }),
  );

  it('but not for ever: 60 s for a busy disk', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      lab.target.faults.onCommand = first(1e9, WRITE10, { status: 0x08 });
      const before = lab.clock.monotonic();
      expect(await codeOf(disk.write(0, block))).toBe('ISCSI_SCSI_BUSY');
      expect(lab.clock.monotonic() - before).toBeGreaterThan(50_000);
      expect(lab.clock.monotonic() - before).toBeLessThan(70_000);
      await disk.close();
    }));
});

describe('errors of a disk have names', () => {
  it.each<[string, CommandFault, string, RegExp]>([
    ['not ready', { sense: [2, 0x3a, 0] }, 'ISCSI_SCSI_NOT_READY', /not ready \(2\/3a\/00\)/],
    ['medium', { sense: [3, 0x0c, 0] }, 'ISCSI_SCSI_MEDIUM_ERROR', /medium error, write error \(3\/0c\/00\)/],
    ['short write', { shortWriteBytes: 512 }, 'ISCSI_SCSI_MEDIUM_ERROR', /WRITE\(10\) of 8 blocks at 0/],
    ['hardware', { sense: [4, 0x44, 0] }, 'ISCSI_SCSI_HARDWARE_ERROR', /internal target failure/],
    ['illegal request', { sense: [5, 0x21, 0] }, 'ISCSI_SCSI_ILLEGAL_REQUEST', /block address out of range/],
    ['write protected', { sense: [7, 0x27, 0] }, 'ISCSI_SCSI_DATA_PROTECT', /write protected/],
    ['aborted', { sense: [0xb, 0x47, 0] }, 'ISCSI_SCSI_ABORTED', /parity error/],
    ['other', { sense: [0xe, 0x1d, 0] }, 'ISCSI_SCSI_CHECK_CONDITION', /miscompare/],
    ['reserved', { status: 0x18 }, 'ISCSI_SCSI_RESERVED', /reserved by another/],
    ['task aborted', { status: 0x40 }, 'ISCSI_SCSI_STATUS', /task aborted/],
    ['unit attention without end', { sense: [6, 0x2a, 9] }, 'ISCSI_SCSI_UNIT_ATTENTION', /capacity changed/],
  ])('%s', (_, fault, code, message) =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      lab.target.faults.onCommand = first(100, WRITE10, fault);
      const write = disk.write(0, block);
      expect(await codeOf(write)).toBe(code);
      await expect(write).rejects.toThrow(message);
      lab.target.faults.onCommand = undefined;
      await disk.write(0, block); // the session is as good as before
      expect(await landed(lab)).toBe(true);
      await disk.close();
    }),
  );
});

describe('sense data', () => {
  it.each([
    ['fixed with a block', 'f00003 00001000 0a 00000000 1100 00000000', 'medium error, unrecovered read error (3/11/00) at block 4096'],
    [
      'descriptor with a block',
      '72 03 11 00 000000 0c 00 0a 80 00 0000000100000000',
      'medium error, unrecovered read error (3/11/00) at block 4294967296',
    ],
    ['descriptor', '72 05 24 00 000000 00', 'illegal request, invalid field in the command (5/24/00)'],
    ['cut short', '70 00 06 00', 'unit attention (6/00/00)'],
    ['deferred', '71 00 03 00000000 0a 00000000 0c00 00000000', 'medium error, write error (3/0c/00)'],
  ])('%s', (_, hex, expected) => {
    const sense = parseSense(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
    expect(sense && describeSense(sense)).toBe(expected);
  });

  it('garbage gives sense or nothing', () => {
    const bytes = fc.tuple(fc.constantFrom(0x70, 0x71, 0x72, 0x73, 0xf0, 0x00), fc.uint8Array({ maxLength: 60 }));
    fc.assert(
      fc.property(bytes, ([code, rest]) => {
        const sense = parseSense(Uint8Array.of(code, ...rest));
        if (sense) expect(describeSense(sense)).toContain('/');
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe('a command that takes too long', () => {
  const fast = { commandTimeoutMs: 1000, abortTimeoutMs: 500 };

  it('is aborted, and the session lives on', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open({ times: fast });
      lab.target.faults.onCommand = first(1, WRITE10, { hang: true });
      expect(await codeOf(disk.write(0, block))).toBe('ISCSI_COMMAND_TIMEOUT');
      expect(await landed(lab)).toBe(false);
      await disk.write(0, block);
      expect(await landed(lab)).toBe(true);
      await disk.close();
    }));

  it('ends the session when the abort is not answered either', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open({ times: fast });
      lab.target.faults.silent = true;
      expect(await codeOf(disk.write(0, block))).toBe('ISCSI_COMMAND_TIMEOUT');
      expect(disk.over.aborted).toBe(true);
      expect(await codeOf(disk.write(0, block))).toBe('ISCSI_COMMAND_TIMEOUT');
      await disk.close();
    }));

  it('an aborted command is aborted at the target, too', () =>
    withLab({}, async (lab) => {
      const session = await openSession(lab.base() as SessionOptions);
      await session.execute({ ...testUnitReady(), lun: 1 }); // the unit attention
      lab.target.faults.onCommand = first(1, WRITE10, { delayMs: 1000 });
      const controller = new AbortController();
      const write = session.execute({ ...transfer('write', 0, 8), lun: 1, dataOut: block, signal: controller.signal });
      lab.clock.after(100, () => controller.abort(new Error('no more')));
      await expect(write).rejects.toThrow('no more');
      await new Promise<void>((resolve) => lab.clock.after(5000, resolve));
      expect(await landed(lab)).toBe(false);
      expect((await session.execute({ ...transfer('write', 0, 8), lun: 1, dataOut: block })).status).toBe(0);
      expect(await landed(lab)).toBe(true);
      expect(await session.resetLun(1)).toBe(0);
      expect(await session.resetLun(9)).toBe(2);
      await session.logout();
    }));
});

describe('the connection', () => {
  it('a silent target is pinged and given up: 5 s of silence, 5 s for the answer', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      lab.target.faults.silent = true;
      const before = lab.clock.monotonic();
      await new Promise((resolve) => disk.over.addEventListener('abort', resolve));
      expect(disk.over.reason).toMatchObject({ code: 'ISCSI_SILENT' });
      expect(lab.clock.monotonic() - before).toBeGreaterThanOrEqual(10_000);
      expect(lab.clock.monotonic() - before).toBeLessThan(10_100);
    }));

  it('an idle session is kept by pings for an hour, both ways', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      for (let minute = 0; minute < 60; minute++) {
        await new Promise<void>((resolve) => lab.clock.after(60_000, resolve));
        lab.target.sessions()[0]?.ping(Buffer.from('are you there'));
      }
      await disk.write(0, block);
      expect(await landed(lab)).toBe(true);
      await disk.close();
    }));

  it('a slow disk is not a silent one', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open({ times: { commandTimeoutMs: 60_000 } });
      lab.target.faults.onCommand = first(1, WRITE10, { delayMs: 40_000 });
      await disk.write(0, block);
      expect(await landed(lab)).toBe(true);
      await disk.close();
    }));

  it.each([1, 48, 500, 5_000, 100_000, 900_000])('dropped after %i bytes', (bytes) =>
    withLab({}, async (lab) => {
      lab.target.faults.dropAfterReceivedBytes = bytes;
      const work = (async () => {
        const disk = await lab.open();
        await disk.write(0, new Uint8Array(4 * MIB));
      })();
      expect(await codeOf(work)).toBe('ISCSI_CONNECTION_LOST');
      expect(lab.target.sessions()).toHaveLength(0);
    }),
  );

  const digests = { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] } as const;
  it('a byte that changes on its way to us is found by the digest', () =>
    withLab({ target: { preferences: digests } }, async (lab) => {
      const disk = await lab.open({ preferences: digests });
      lab.target.faults.flipSentByteAt = 100_000;
      const read = disk.read(0, MIB);
      expect(await codeOf(read)).toBe('ISCSI_PROTOCOL');
      await expect(read).rejects.toThrow(/digest/);
    }));

  it('a byte that changes on its way to the disk is found by the digest, and nothing of that command is written', () =>
    withLab({ target: { preferences: digests } }, async (lab) => {
      const disk = await lab.open({ preferences: digests });
      lab.target.faults.flipReceivedByteAt = 100_000;
      expect(await codeOf(disk.write(0, new Uint8Array(MIB).fill(7)))).toBe('ISCSI_CONNECTION_LOST');
      expect((await lab.disk.read(0, MIB)).every((byte) => byte === 0)).toBe(true);
    }));

  it('a target that asks for a logout gets one when the commands under way have ended', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      lab.target.faults.onCommand = first(1, WRITE10, { delayMs: 300 });
      const write = disk.write(0, block);
      lab.clock.after(100, () => lab.target.sessions()[0]?.sendEvent(1, 3));
      await write;
      expect(await landed(lab)).toBe(true);
      await new Promise<void>((resolve) => lab.clock.after(100, resolve));
      expect(disk.over.reason).toMatchObject({ code: 'ISCSI_LOGOUT_ASKED' });
      expect(await codeOf(disk.write(0, block))).toBe('ISCSI_LOGOUT_ASKED');
      expect(lab.target.sessions()).toHaveLength(0);
    }));

  it('after close nothing goes', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      await disk.close();
      await disk.close();
      expect(await codeOf(disk.read(0, 512))).toBe('ISCSI_CLOSED');
    }));

  it('cancellation rejects everything at once with its reason and leaves nothing', () =>
    withLab({}, async (lab) => {
      const controller = new AbortController();
      const disk = await lab.open({ signal: controller.signal });
      lab.target.faults.onCommand = ({ opcode }) => (opcode === READ10 || opcode === WRITE10 ? { hang: true } : undefined);
      const works = [disk.write(0, new Uint8Array(8 * MIB)), disk.read(0, MIB), disk.zero(0, MIB)];
      lab.clock.after(50, () => controller.abort(new Error('the node is deleted')));
      for (const work of await Promise.allSettled(works.slice(0, 2)))
        expect(work).toMatchObject({ status: 'rejected', reason: { message: 'the node is deleted' } });
      await Promise.allSettled(works);
      await new Promise<void>((resolve) => lab.clock.after(10, resolve));
      expect(lab.target.sessions()).toHaveLength(0);
    }));
});
