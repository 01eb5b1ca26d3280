import { describe, expect, it } from 'vitest';
import { types } from '../../../src/contract/config/index.ts';
import { pythonFloat, type ValueType } from '../../../src/contract/config/value-types.ts';
import { Secret } from '../../../src/contract/secret.ts';

const { boolean, choice, cidr, dictOf, float, hostAddress, integer, ipAddress, listOf, port, repeated, secret, string, uri } = types;

const decoded = (type: ValueType<unknown>, ...texts: string[]) => {
  const outcome = type.decode(texts);
  return outcome.ok ? outcome.value : `! ${outcome.reason}`;
};
const encoded = (type: ValueType<unknown>, value: unknown) => {
  const outcome = type.encode(value);
  return outcome.ok ? outcome.value : `! ${outcome.reason}`;
};

describe('decoding', () => {
  const cases: [ValueType<unknown>, string[], unknown][] = [
    [string(), ['a', 'b'], 'b'],
    [string({ maxLength: 2 }), ['abc'], '! is longer than 2 characters'],
    [string({ pattern: /^\//, what: 'absolute path' }), ['a'], '! is no absolute path'],
    [string(), ['a\nb'], '! contains a line break'],
    [integer(), ['+1_000'], 1000],
    [integer(), ['-0'], 0],
    [integer(), ['1.0'], '! is not a whole number'],
    [integer(), ['0x10'], '! is not a whole number'],
    [integer(), [''], '! is not a whole number'],
    [integer(), ['9007199254740993'], '! is not a whole number'],
    [integer({ min: 1, max: 5 }), ['6'], '! is not a whole number from 1 to 5'],
    [integer({ choices: [3, 17] }), ['4'], '! is not a whole number out of 3, 17'],
    [float(), ['1e3'], 1000],
    [float(), ['.5'], 0.5],
    [float(), ['5.'], 5],
    [float(), ['1_0.2_5'], 10.25],
    [float(), ['.'], '! is not a number'],
    [float(), ['nan'], '! is not a number'],
    [float(), ['1e999'], '! is not a number'],
    [boolean(), ['YES'], true],
    [boolean(), ['off'], false],
    [boolean(), ['y'], '! is none of true, false, yes, no, on, off, 1, 0'],
    [choice(['a', 'b']), ['b'], 'b'],
    [choice(['a', 'b']), ['B'], '! is none of a, b'],
    [listOf(string()), ['a, b ,,c,,'], ['a', 'b', '', 'c']],
    [listOf(string()), [''], []],
    [listOf(integer()), ['1, 2'], [1, 2]],
    [listOf(integer()), ['1,x'], '! has a part that is not a whole number'],
    [listOf(string({ pattern: /^\(.*\)$/ })), ['(a,b),(c)'], ['(a,b)', '(c)']],
    [dictOf(string()), ['a:b, c : d:e'], { a: 'b', c: 'd:e' }],
    [dictOf(string()), ['a'], '! has a part that is not name:value'],
    [dictOf(string()), ['a:1,a:2'], '! has the name "a" twice'],
    [dictOf(string()), [':1'], '! has a pair without a name'],
    [repeated(integer()), ['1', '2'], [1, 2]],
    [repeated(string()), ['a,b', ''], ['a,b', '']],
    [port(), ['0'], 0],
    [port({ min: 1 }), ['0'], '! is not a whole number from 1 to 65535'],
    [port(), ['65536'], '! is not a whole number from 0 to 65535'],
    [ipAddress(), ['::1'], '::1'],
    [ipAddress({ version: 4 }), ['::1'], '! is not an IPv4 address'],
    [ipAddress(), ['010.0.0.1'], '! is not an IP address'],
    [cidr(), ['10.0.0.0/8'], '10.0.0.0/8'],
    [cidr(), ['10.0.0.1/8'], '! is not a network such as 192.168.50.0/24'],
    [hostAddress(), ['zk-0.example.'], 'zk-0.example'],
    [hostAddress(), ['10.0.0'], '! is neither an IP address nor a host name'],
    [uri(), ['https://u@[::1]:8/p?q#f'], 'https://u@[::1]:8/p?q#f'],
    [uri({ schemes: ['http'] }), ['ftp://h'], '! is no http URI with a host'],
  ];
  it.each(cases)('$name of %j', (type, texts, expected) => {
    expect(decoded(type, ...texts)).toEqual(expected);
  });

  it('gives a dict with a member name of objects as an own property', () => {
    const value = decoded(dictOf(string()), '__proto__:x');
    expect(Object.entries(value as object)).toEqual([['__proto__', 'x']]);
  });
});

describe('encoding', () => {
  const cases: [ValueType<unknown>, unknown, unknown][] = [
    [string(), 7, '! is not text'],
    [string(), 'a\rb', '! contains a line break'],
    [integer(), 1.5, '! is not a whole number'],
    [integer(), '1', '! is not a whole number'],
    [float(), 1, ['1.0']],
    [boolean(), true, ['true']],
    [boolean(), 'true', '! is not a boolean'],
    [listOf(string()), ['a', 'b'], ['a,b']],
    [listOf(string()), [], ['']],
    [listOf(string()), 'a', '! is not a list, such as [one, two]'],
    [listOf(string()), ['a,b'], '! has an item that a comma-separated list cannot carry'],
    [listOf(string()), ['a', ''], '! has an item that a comma-separated list cannot carry'],
    [listOf(string()), [' a'], '! has an item that a comma-separated list cannot carry'],
    [dictOf(integer()), { b: 2, a: 1 }, ['a:1,b:2']],
    [dictOf(string()), { 'a:b': 'c' }, '! has a name or value that name:value pairs cannot carry'],
    [dictOf(string()), { a: 'b,c:d' }, '! has a name or value that name:value pairs cannot carry'],
    [repeated(string()), ['a,b', ''], ['a,b', '']],
    [secret(), 'plain', '! is not a Secret'],
    [secret(), new Secret('a\nb'), '! contains a line break, a NUL or a broken character'],
  ];
  it.each(cases)('$name of %j', (type, value, expected) => {
    expect(encoded(type, value)).toEqual(expected);
  });

  // repr() of Python 3.
  it.each([
    [1, '1.0'],
    [0.1, '0.1'],
    [-0, '-0.0'],
    [1e16, '1e+16'],
    [123456789012345680, '1.2345678901234568e+17'],
    [9999999999999998, '9999999999999998.0'],
    [0.0001, '0.0001'],
    [0.00001, '1e-05'],
    [1e-7, '1e-07'],
    [1e100, '1e+100'],
  ])('writes %d as Python does', (value, expected) => {
    expect(pythonFloat(value)).toBe(expected);
  });
});
