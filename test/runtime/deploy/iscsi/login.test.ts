import { inspect } from 'node:util';
import { CodedError } from 'cdk8s-baremetal-contract';
import { type ChapCredentials, ChapSecret } from 'cdk8s-baremetal-runtime/deploy/iscsi/chap';
import { iscsiErrors } from 'cdk8s-baremetal-runtime/deploy/iscsi/errors';
import { InitiatorLogin, type LoginOptions } from 'cdk8s-baremetal-runtime/deploy/iscsi/login';
import { DEFAULT_PREFERENCES } from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import { parsePortal } from 'cdk8s-baremetal-runtime/deploy/iscsi/open-session';
import { NO_DATA, PduError, type PduOf } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { decodeKeys, decodePairs, encodeText, isIscsiName, parseBinary } from 'cdk8s-baremetal-runtime/deploy/iscsi/text';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf, FUZZ_RUNS, INITIATOR_NAME, type LabOptions, TARGET_NAME, withLab } from './lab.ts';

const SECRET = 'correct horse battery';
const OWN_SECRET = 'staple of the target';
const chap = (overrides: Partial<ChapCredentials> = {}): ChapCredentials => ({
  user: 'deployer',
  secret: new ChapSecret(SECRET),
  ...overrides,
});
const targetChap = { user: 'deployer', secret: new ChapSecret(SECRET), own: { user: 'node-7', secret: new ChapSecret(OWN_SECRET) } };
const guarded: LabOptions = { target: { chap: targetChap } };
const called = (user: string): LabOptions => ({ target: { chap: { ...targetChap, user } } });
const mutual = (secret: string): ChapCredentials => chap({ target: { secret: new ChapSecret(secret) } });

describe('CHAP', () => {
  it('answers as RFC 1994 says: MD5 of identifier, secret, challenge', () => {
    const challenge = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    // printf '\x2a''correct horse battery''<challenge>' | md5sum
    expect(Buffer.from(new ChapSecret(SECRET).answer('md5', 0x2a, challenge)).toString('hex')).toBe('0b41f81b13f4fb1d46eb91b91870314d');
  });

  it('N5, N15: a secret never shows', () => {
    const secret = new ChapSecret(SECRET);
    const shown = [
      `${secret}`,
      inspect(secret),
      inspect({ secret }, { depth: 9, showHidden: true }),
      JSON.stringify({ secret }),
      String(secret),
    ];
    for (const text of shown) expect(text).not.toMatch(/correct|horse|636f72/);
  });

  it.each([
    ['11 bytes', 'x'.repeat(11)],
    ['256 bytes', 'x'.repeat(256)],
  ])('refuses a secret of %s', (_, secret) => expect(() => new ChapSecret(secret)).toThrow(/too short|CHAP secret of/));

  it.each<[string, LabOptions, ChapCredentials | undefined, string]>([
    ['one way', guarded, chap(), 'no error'],
    ['one way, SHA-256', guarded, chap({ algorithms: ['sha-256', 'md5'] }), 'no error'],
    ['mutual', guarded, mutual(OWN_SECRET), 'no error'],
    ['mutual, name checked', guarded, chap({ target: { user: 'node-7', secret: new ChapSecret(OWN_SECRET) } }), 'no error'],
    ['neither side wants any', {}, undefined, 'no error'],
    ['wrong secret', guarded, chap({ secret: new ChapSecret('wrong horse battery') }), 'ISCSI_AUTHENTICATION_FAILED'],
    ['wrong user', guarded, chap({ user: 'somebody' }), 'ISCSI_AUTHENTICATION_FAILED'],
    ['a user that LIO would take for a number', called('0bbee737'), chap({ user: '0bbee737' }), 'ISCSI_AUTHENTICATION_FAILED'],
    ['the same behind a word', called('bms-0bbee737'), chap({ user: 'bms-0bbee737' }), 'no error'],
    ['no common algorithm', guarded, chap({ algorithms: ['sha3-256'] }), 'ISCSI_AUTHENTICATION_FAILED'],
    ['the target wants it, we have none', guarded, undefined, 'ISCSI_AUTHENTICATION_FAILED'],
    ['the target wants none: it is not believed', {}, chap(), 'ISCSI_AUTHENTICATION_FAILED'],
    ['the target proves another secret', guarded, mutual('another secret of a target'), 'ISCSI_CHAP_TARGET_UNPROVEN'],
    [
      'the target has another name',
      guarded,
      chap({ target: { user: 'node-8', secret: new ChapSecret(OWN_SECRET) } }),
      'ISCSI_CHAP_TARGET_UNPROVEN',
    ],
    ['one secret for both sides', guarded, mutual(SECRET), 'ISCSI_CHAP_SAME_SECRET'],
  ])('%s', (_, options, credentials, code) =>
    withLab(options, async (lab) => {
      const opened = lab.open({ ...(credentials && { chap: credentials }) });
      expect(await codeOf(opened)).toBe(code);
      await opened.then((disk) => disk.close()).catch(() => undefined);
      expect(lab.target.sessions()).toHaveLength(0);
    }),
  );
});

describe('refused logins', () => {
  const statuses: [number, string][] = [
    [0x0200, 'ISCSI_LOGIN_REFUSED'],
    [0x0201, 'ISCSI_AUTHENTICATION_FAILED'],
    [0x0202, 'ISCSI_NOT_AUTHORIZED'],
    [0x0203, 'ISCSI_TARGET_NOT_FOUND'],
    [0x0204, 'ISCSI_TARGET_REMOVED'],
    [0x0205, 'ISCSI_VERSION'],
    [0x0206, 'ISCSI_TOO_MANY_CONNECTIONS'],
    [0x0207, 'ISCSI_MISSING_PARAMETER'],
    [0x0208, 'ISCSI_SESSION_JOIN'],
    [0x0209, 'ISCSI_SESSION_TYPE'],
    [0x020a, 'ISCSI_SESSION_UNKNOWN'],
    [0x020b, 'ISCSI_LOGIN_INVALID'],
    [0x0300, 'ISCSI_TARGET_ERROR'],
    [0x0301, 'ISCSI_SERVICE_UNAVAILABLE'],
    [0x0302, 'ISCSI_OUT_OF_RESOURCES'],
    [0x02ff, 'ISCSI_LOGIN_STATUS'],
  ];
  it.each(statuses)('status %s is %s', (status, code) =>
    withLab({}, async (lab) => {
      lab.target.faults.loginStatus = status;
      expect(await codeOf(lab.open())).toBe(code);
    }),
  );

  it('N4: a redirection is refused, unless the caller allows that very portal', () =>
    withLab({ target: { redirect: { address: '192.0.2.7:3261,1', permanent: false } } }, async (lab) => {
      expect(await codeOf(lab.open())).toBe('ISCSI_REDIRECTED');
      const asked: string[] = [];
      const allowRedirect = ({ address, port }: { address: string; port: number }): boolean => asked.push(`${address} ${port}`) > 0;
      expect(await codeOf(lab.open({ allowRedirect }))).toBe('ISCSI_UNREACHABLE'); // followed: nobody listens there
      expect(asked).toEqual(['192.0.2.7 3261']);
    }));

  it('does not follow in circles', () =>
    withLab({ target: { redirect: { address: '192.0.2.7:3260,1', permanent: true } } }, async (lab) => {
      expect(await codeOf(lab.open({ allowRedirect: () => true }))).toBe('ISCSI_REDIRECTED');
    }));

  it('a portal that accepts and says nothing', () =>
    withLab({}, async (lab) => {
      lab.target.faults.silent = true;
      const before = lab.clock.monotonic();
      expect(await codeOf(lab.open({ loginTimeoutMs: 4000 }))).toBe('ISCSI_LOGIN_TIMEOUT');
      expect(lab.clock.monotonic() - before).toBeGreaterThanOrEqual(4000);
    }));

  it('cancelled while logging in', () =>
    withLab({}, async (lab) => {
      lab.target.faults.silent = true;
      const controller = new AbortController();
      lab.clock.after(100, () => controller.abort(new Error('not wanted any more')));
      await expect(lab.open({ signal: controller.signal })).rejects.toThrow('not wanted any more');
    }));
});

const loginOptions: LoginOptions = {
  portal: '192.0.2.7:3260',
  initiatorName: INITIATOR_NAME,
  targetName: TARGET_NAME,
  isid: Buffer.from('800000010007', 'hex'),
  preferences: DEFAULT_PREFERENCES,
  random: seededRandom('login'),
  initialCmdSn: 1,
};
const response = (overrides: Partial<PduOf<'login-response'>>): PduOf<'login-response'> => ({
  kind: 'login-response',
  transit: false,
  more: false,
  currentStage: 0,
  nextStage: 0,
  versionMax: 0,
  versionActive: 0,
  isid: Buffer.alloc(6),
  tsih: 0,
  itt: 0,
  statSn: 1,
  expCmdSn: 1,
  maxCmdSn: 1,
  status: 0,
  data: NO_DATA,
  ...overrides,
});

describe('a target that cheats', () => {
  const code = (login: InitiatorLogin, ...responses: Partial<PduOf<'login-response'>>[]): string => {
    login.start();
    try {
      for (const each of responses) login.receive(response(each));
    } catch (error) {
      return (error as CodedError).code;
    }
    return 'accepted';
  };
  const text = (...pairs: [string, string][]): Uint8Array => encodeText(pairs);
  const withChap = { ...loginOptions, chap: mutual(OWN_SECRET) };
  const challenge = text(['CHAP_A', '5'], ['CHAP_I', '1'], ['CHAP_C', '0x00112233445566778899aabbccddeeff']);

  it.each<[string, LoginOptions, Partial<PduOf<'login-response'>>[], string]>([
    ['skips CHAP', withChap, [{ transit: true, nextStage: 1 }], 'ISCSI_PROTOCOL'],
    ['answers None to CHAP', withChap, [{ data: text(['AuthMethod', 'None']) }], 'ISCSI_CHAP_REFUSED'],
    [
      'chooses an algorithm that was not offered',
      withChap,
      [{}, { data: text(['CHAP_A', '6'], ['CHAP_I', '1'], ['CHAP_C', '0x00']) }],
      'ISCSI_CHAP_REFUSED',
    ],
    [
      'sends a challenge too long',
      withChap,
      [{}, { data: text(['CHAP_A', '5'], ['CHAP_I', '1'], ['CHAP_C', `0x${'00'.repeat(1025)}`]) }],
      'ISCSI_CHAP_REFUSED',
    ],
    ['gives no proof of its own', withChap, [{}, { data: challenge }, { transit: true, nextStage: 1 }], 'ISCSI_CHAP_TARGET_UNPROVEN'],
    ['challenges twice', withChap, [{}, { data: challenge }, { data: challenge }], 'ISCSI_CHAP_REFUSED'],
    ['goes to the full feature phase at once', loginOptions, [{ transit: true, nextStage: 3 }], 'ISCSI_PROTOCOL'],
    ['answers for another stage', loginOptions, [{ currentStage: 1 }], 'ISCSI_PROTOCOL'],
    ['speaks another version', loginOptions, [{ versionActive: 1 }], 'ISCSI_PROTOCOL'],
    ['never ends', loginOptions, Array.from({ length: 40 }, () => ({})), 'ISCSI_PROTOCOL'],
    [
      'raises a limit',
      loginOptions,
      [
        { transit: true, nextStage: 1 },
        { currentStage: 1, data: text(['MaxBurstLength', '16777215']) },
      ],
      'ISCSI_NEGOTIATION',
    ],
  ])('%s', (_, options, responses, expected) => expect(code(new InitiatorLogin(options), ...responses)).toBe(expected));

  it('any text in any stage gives a step, a CodedError or a PduError', () => {
    const words = fc.constantFrom(
      'CHAP_A=5\0',
      'CHAP_I=1\0',
      'CHAP_C=0x00\0',
      'AuthMethod=CHAP\0',
      'MaxBurstLength=1\0',
      '=\0',
      'x\0',
      '\0\0',
    );
    const segment = fc.array(fc.oneof(words, fc.string()), { maxLength: 6 }).map((parts) => Buffer.from(parts.join('')));
    const step = fc.record({ data: segment, transit: fc.boolean(), more: fc.boolean(), currentStage: fc.nat(3), nextStage: fc.nat(3) });
    const property = fc.property(fc.boolean(), fc.array(step, { maxLength: 6 }), (secured, steps) => {
      const login = new InitiatorLogin(secured ? withChap : loginOptions);
      login.start();
      try {
        for (const each of steps) login.receive(response(each));
      } catch (error) {
        expect(error instanceof CodedError || error instanceof PduError).toBe(true);
      }
    });
    fc.assert(property, { numRuns: FUZZ_RUNS });
  });
});

describe('text', () => {
  it('to bytes and back', () => {
    expect(
      Buffer.from(
        encodeText([
          ['A', '1'],
          ['B', 'x=y'],
        ]),
      ).toString('latin1'),
    ).toBe('A=1\0B=x=y\0');
    expect(decodePairs(Buffer.from('A=1\0B=x=y\0\0\0'))).toEqual([
      ['A', '1'],
      ['B', 'x=y'],
    ]);
  });

  it('a key that comes twice is refused', () => expect(() => decodeKeys(Buffer.from('A=1\0A=2\0'))).toThrow(PduError));

  it.each([
    ['0x0aFF', '0aff'],
    ['0xabc', '0abc'],
    ['0bAAEC', '000102'],
    ['0b!', undefined],
    ['12', undefined],
    ['0x', undefined],
  ])('binary %s', (value, expected) => {
    const bytes = parseBinary(value, 16);
    expect(bytes && Buffer.from(bytes).toString('hex')).toBe(expected);
  });

  it.each([
    ['iqn.2026-11.io.bms:node-7', true],
    ['iqn.2026-11.io.bms', true],
    ['eui.02004567A425678D', true],
    ['naa.52004567BA64678D', true],
    ['iqn.26-11.io.bms', false],
    ['iqn.2026-11.io.bms:NODE', false],
    [`iqn.2026-11.io.bms:${'x'.repeat(220)}`, false],
    ['iqn.2026-11.io.bms:a b', false],
  ])('name %s: %s', (name, valid) => expect(isIscsiName(name)).toBe(valid));

  it.each([
    ['192.0.2.7:3261,1', { address: '192.0.2.7', port: 3261 }],
    ['192.0.2.7', { address: '192.0.2.7', port: 3260 }],
    ['[2001:db8::7]:3260,2', { address: '2001:db8::7', port: 3260 }],
    ['192.0.2.7:0', undefined],
    ['192.0.2.7:99999', undefined],
    ['', undefined],
    ['a b:1', undefined],
  ])('portal %s', (value, expected) => expect(parsePortal(value)).toEqual(expected));

  it('every error says what to do', () => {
    const error = iscsiErrors.ISCSI_REDIRECTED({ portal: 'p', target: 't', to: 'x' });
    expect(error.cure).toMatch(/^Export/);
  });
});
