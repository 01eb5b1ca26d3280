import { DEFAULT_PREFERENCES, NegotiationError, Negotiator, type Preferences } from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUZZ_RUNS } from './lab.ts';

const ours: Preferences = {
  headerDigest: ['None', 'CRC32C'],
  dataDigest: ['None'],
  initialR2T: false,
  immediateData: true,
  maxBurstLength: 262_144,
  firstBurstLength: 65_536,
  maxOutstandingR2T: 4,
  maxRecvDataSegmentLength: 65_536,
};

describe('answers to a peer', () => {
  it.each([
    ['list: the first of theirs that we have', 'HeaderDigest', 'CRC32C,None', 'CRC32C'],
    ['list: only one fits', 'DataDigest', 'CRC32C,None', 'None'],
    ['list: none fits', 'DataDigest', 'CRC32C', 'Reject'],
    ['list: unknown values are passed over', 'HeaderDigest', 'X-foo,None', 'None'],
    ['min: theirs', 'MaxBurstLength', '1024', '1024'],
    ['min: ours', 'MaxBurstLength', '16777215', '262144'],
    ['min: hexadecimal', 'MaxBurstLength', '0x400', '1024'],
    ['max: theirs', 'DefaultTime2Wait', '20', '20'],
    ['one connection', 'MaxConnections', '8', '1'],
    ['recovery level 0', 'ErrorRecoveryLevel', '2', '0'],
    ['or: theirs', 'InitialR2T', 'Yes', 'Yes'],
    ['or: neither', 'InitialR2T', 'No', 'No'],
    ['or: ours', 'DataPDUInOrder', 'No', 'Yes'],
    ['and: theirs', 'ImmediateData', 'No', 'No'],
    ['and: both', 'ImmediateData', 'Yes', 'Yes'],
    ['a key nobody knows', 'X-com.example.turbo', 'Yes', 'NotUnderstood'],
  ])('%s', (_, key, theirs, expected) => expect(new Negotiator(ours).receive(new Map([[key, theirs]])).get(key)).toBe(expected));

  it.each([
    ['MaxBurstLength', '511'],
    ['MaxBurstLength', '16777216'],
    ['MaxBurstLength', '-1'],
    ['MaxBurstLength', '1e5'],
    ['InitialR2T', 'yes'],
    ['MaxOutstandingR2T', '0'],
    ['MaxRecvDataSegmentLength', 'Reject'],
  ])('refuses %s=%s', (key, theirs) => expect(() => new Negotiator(ours).receive(new Map([[key, theirs]]))).toThrow(NegotiationError));

  it('answers nothing to what is only announced', () => {
    expect(new Negotiator(ours).receive(new Map([['TargetAlias', 'a disk']])).size).toBe(0);
  });
});

describe('answers from a peer', () => {
  const settle = (key: string, answer: string): Negotiator => {
    const negotiator = new Negotiator(ours);
    negotiator.offer();
    negotiator.receive(new Map([[key, answer]]));
    return negotiator;
  };

  it.each([
    ['MaxBurstLength', '524288', 'a minimum cannot be above ours'],
    ['DefaultTime2Wait', 'soon', 'not a number'],
    ['HeaderDigest', 'CRC16', 'not in our list'],
    ['DataDigest', 'CRC32C', 'not in our list'],
    ['DataPDUInOrder', 'No', 'we said Yes to an OR'],
    ['InitialR2T', 'Maybe', 'not a boolean'],
    ['MaxBurstLength', 'Reject', 'refused'],
    ['HeaderDigest', 'None,CRC32C', 'a list is no choice'],
  ])('refuses %s=%s: %s', (key, answer) => expect(() => settle(key, answer)).toThrow(NegotiationError));

  it.each([
    ['MaxBurstLength', '4096', { maxBurstBytes: 4096, firstBurstBytes: 4096 }],
    ['FirstBurstLength', 'Irrelevant', { firstBurstBytes: 65_536 }],
    ['InitialR2T', 'Yes', { initialR2T: true }],
    ['ImmediateData', 'No', { immediateData: false }],
    ['HeaderDigest', 'CRC32C', { digests: { header: true, data: false } }],
    ['MaxRecvDataSegmentLength', '1048576', { maxSendBytes: 1_048_576, maxReceiveBytes: 65_536 }],
  ])('takes %s=%s', (key, answer, expected) => expect(settle(key, answer).result()).toMatchObject(expected));

  it('silence means the defaults of the standard', () => {
    expect(new Negotiator(ours).result()).toMatchObject({
      initialR2T: true,
      immediateData: true,
      maxBurstBytes: 262_144,
      firstBurstBytes: 65_536,
      maxOutstandingR2T: 1,
      maxSendBytes: 8192,
    });
  });

  it('silence about what our offer has settled means our offer, as LIO leaves it out', () => {
    const negotiator = new Negotiator({ ...ours, initialR2T: true, immediateData: false });
    negotiator.offer();
    negotiator.receive(new Map([['MaxBurstLength', '4096']]));
    expect(negotiator.result()).toMatchObject({ initialR2T: true, immediateData: false });
  });

  it('silence about what it has not means the defaults', () => {
    const negotiator = new Negotiator(ours);
    negotiator.offer();
    expect(negotiator.result()).toMatchObject({ initialR2T: true, immediateData: true });
  });
});

const anyPreferences: fc.Arbitrary<Preferences> = fc.record({
  headerDigest: fc.constantFrom(['None'], ['CRC32C', 'None'], ['None', 'CRC32C']),
  dataDigest: fc.constantFrom(['None'], ['CRC32C', 'None'], ['None', 'CRC32C']),
  initialR2T: fc.boolean(),
  immediateData: fc.boolean(),
  maxBurstLength: fc.integer({ min: 512, max: 0xffffff }),
  firstBurstLength: fc.integer({ min: 512, max: 0xffffff }),
  maxOutstandingR2T: fc.integer({ min: 1, max: 65_535 }),
  maxRecvDataSegmentLength: fc.integer({ min: 512, max: 0xffffff }),
}) as fc.Arbitrary<Preferences>;

describe('two negotiators', () => {
  it('come to the same parameters, whatever they want', () => {
    const property = fc.property(anyPreferences, anyPreferences, fc.boolean(), (wanted, allowed, terse) => {
      const initiator = new Negotiator(wanted);
      const target = new Negotiator(allowed);
      const replies = new Map([...target.receive(initiator.offer()), ...target.declareOwn()]);
      if (terse && wanted.initialR2T) replies.delete('InitialR2T'); // section 6.2.2: these answers may be left out
      if (terse && !wanted.immediateData) replies.delete('ImmediateData');
      expect(initiator.receive(replies).size).toBe(0);
      const { maxSendBytes, maxReceiveBytes, ...agreed } = initiator.result();
      expect(target.result()).toEqual({ ...agreed, maxSendBytes: maxReceiveBytes, maxReceiveBytes: maxSendBytes });
      expect(agreed.firstBurstBytes).toBeLessThanOrEqual(agreed.maxBurstBytes);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('any keys and values give answers or NegotiationError', () => {
    const key = fc.oneof(fc.constantFrom('MaxBurstLength', 'HeaderDigest', 'InitialR2T', 'ErrorRecoveryLevel', '__proto__'), fc.string());
    const value = fc.oneof(fc.string(), fc.constantFrom('Yes', 'No', 'None', '0x', '0xffffffffff', '99999999999', 'Reject', ''));
    const property = fc.property(fc.array(fc.tuple(key, value)), fc.boolean(), (pairs, offered) => {
      const negotiator = new Negotiator(DEFAULT_PREFERENCES);
      if (offered) negotiator.offer();
      try {
        negotiator.receive(new Map(pairs));
      } catch (error) {
        expect(error).toBeInstanceOf(NegotiationError);
      }
    });
    fc.assert(property, { numRuns: FUZZ_RUNS });
  });
});
