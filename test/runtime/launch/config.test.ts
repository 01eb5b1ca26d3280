import { CodedError } from 'cdk8s-baremetal-contract';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../../src/runtime/launch/config.ts';
import { parseYaml } from '../../../src/runtime/launch/yaml-text.ts';
import { Sandbox } from './sandbox.ts';

const parse = (data: unknown) => parseConfig('config.json', JSON.stringify(data), JSON.parse);
const file = { source: '/s', dest: '/d', owner: 'nova', perm: '0600' };

describe('the config file', () => {
  it('001-5: every key of the schema', () => {
    const config = parse({
      command: 'nova-api',
      config_files: [
        { ...file, optional: true, merge: true },
        { source: '/a/*', dest: '/b/', preserve_properties: true },
      ],
      directories: [{ path: '/var/lib/nova/', owner: 'nova:kolla', perm: '0o2775' }],
      files: [{ path: '/var/log/x.log', owner: 'nova', perm: '640' }],
      permissions: [{ path: '/var/log/kolla/*', owner: 'nova:kolla', perm: '0755', recurse: true, exclude: ['a', 'b$'] }],
    });
    expect(config.command).toEqual({ text: 'nova-api', argv: ['nova-api'] });
    expect(config.configFiles[0]).toEqual({
      source: '/s',
      dest: '/d',
      ownership: { owner: 'nova', mode: 0o600 },
      optional: true,
      merge: true,
      preserveProperties: false,
    });
    expect(config.configFiles[1]).toMatchObject({ dest: '/b/', ownership: undefined, preserveProperties: true });
    expect(config.directories).toEqual([{ path: '/var/lib/nova', owner: 'nova:kolla', mode: 0o2775 }]);
    expect(config.files).toEqual([{ path: '/var/log/x.log', owner: 'nova', mode: 0o640 }]);
    expect(config.permissions[0]).toMatchObject({ mode: 0o755, recurse: true, exclude: [/a/, /b$/] });
  });
  it('K5: the command may be a list of arguments', () => {
    expect(parse({ command: ['sh', '-c', 'echo "a  b"'] }).command).toEqual({
      argv: ['sh', '-c', 'echo "a  b"'],
      text: `sh -c 'echo "a  b"'`,
    });
  });
  it('paths are normalised', () => {
    expect(parse({ command: 'x', config_files: [{ ...file, dest: '//etc//nova/../n.conf' }] }).configFiles[0]?.dest).toBe('/etc/n.conf');
  });

  const refused: { name: string; data: unknown; says: RegExp }[] = [
    { name: 'no command', data: {}, says: /LAUNCH_CONFIG_REQUIRED: config.json: "command" is missing at the top/ },
    { name: 'an empty command', data: { command: ' ' }, says: /command is " "/ },
    { name: 'an empty argument list', data: { command: [] }, says: /command is \[\]/ },
    { name: 'a number as argument', data: { command: ['a', 1] }, says: /command\[1\] is 1, not a string/ },
    { name: 'K5: an open quote', data: { command: "a 'b" }, says: /a quote or a backslash is open/ },
    { name: 'NUL in the command', data: { command: 'a\0b' }, says: /free of NUL/ },
    { name: 'a list at the top', data: [], says: /the file is \[\], not a mapping/ },
    { name: 'null at the top', data: null, says: /the file is null, not a mapping/ },
    {
      name: 'K8: a misspelt key, with the nearest',
      data: { command: 'x', config_files: [{ ...file, optinal: true }] },
      says: /LAUNCH_CONFIG_KEY: config.json: unknown key "optinal" in config_files\[0\] \(did you mean "optional"\?\)/,
    },
    {
      name: 'K8: a misspelt key at the top',
      data: { command: 'x', config_file: [] },
      says: /"config_file" at the top \(did you mean "config_files"\?\)/,
    },
    { name: 'K8: a key that never existed', data: { command: 'x', ignore_globs: [] }, says: /"ignore_globs"/ },
    {
      name: 'source is missing',
      data: { command: 'x', config_files: [{ dest: '/d', owner: 'n', perm: '600' }] },
      says: /"source" is missing/,
    },
    {
      name: 'dest is missing',
      data: { command: 'x', config_files: [{ source: '/d', owner: 'n', perm: '600' }] },
      says: /"dest" is missing/,
    },
    {
      name: 'owner is missing',
      data: { command: 'x', config_files: [{ source: '/s', dest: '/d', perm: '600' }] },
      says: /"owner" is missing.*preserve_properties/,
    },
    {
      name: 'perm is missing',
      data: { command: 'x', config_files: [{ source: '/s', dest: '/d', owner: 'n' }] },
      says: /"perm" is missing/,
    },
    {
      name: 'perm as a number',
      data: { command: 'x', config_files: [{ ...file, perm: 600 }] },
      says: /config_files\[0\].perm is 600, not three or four octal digits/,
    },
    { name: 'a symbolic perm', data: { command: 'x', config_files: [{ ...file, perm: 'u=rw' }] }, says: /perm is "u=rw"/ },
    { name: 'a relative dest', data: { command: 'x', config_files: [{ ...file, dest: 'etc/x' }] }, says: /not an absolute path/ },
    {
      name: 'optional as text',
      data: { command: 'x', config_files: [{ ...file, optional: 'yes' }] },
      says: /optional is "yes", not true or false/,
    },
    { name: 'an owner of three parts', data: { command: 'x', config_files: [{ ...file, owner: 'a:b:c' }] }, says: /owner is "a:b:c"/ },
    { name: 'config_files as a mapping', data: { command: 'x', config_files: {} }, says: /config_files is \{\}, not a list/ },
    { name: 'an entry that is text', data: { command: 'x', config_files: ['a'] }, says: /config_files\[0\] is "a", not a mapping/ },
    {
      name: 'directories without path',
      data: { command: 'x', directories: [{ owner: 'n', perm: '755' }] },
      says: /"path" is missing in directories\[0\]/,
    },
    { name: 'directories without owner', data: { command: 'x', directories: [{ path: '/a', perm: '755' }] }, says: /"owner" is missing/ },
    { name: 'directories without perm', data: { command: 'x', directories: [{ path: '/a', owner: 'n' }] }, says: /"perm" is missing/ },
    {
      name: 'a pattern in directories',
      data: { command: 'x', directories: [{ path: '/a/*', owner: 'n', perm: '755' }] },
      says: /no patterns here/,
    },
    { name: 'files without path', data: { command: 'x', files: [{ owner: 'n', perm: '755' }] }, says: /"path" is missing in files\[0\]/ },
    {
      name: 'a null path in files',
      data: { command: 'x', files: [{ path: null, owner: 'n', perm: '755' }] },
      says: /files\[0\].path is null/,
    },
    { name: 'a pattern in files', data: { command: 'x', files: [{ path: '/a?', owner: 'n', perm: '755' }] }, says: /no patterns here/ },
    {
      name: 'a broken regular expression',
      data: { command: 'x', permissions: [{ path: '/a', owner: 'n', exclude: ['('] }] },
      says: /exclude\[0\] is "\("/,
    },
    {
      name: 'exclude as text',
      data: { command: 'x', permissions: [{ path: '/a', owner: 'n', exclude: 'a' }] },
      says: /exclude is "a", not a list/,
    },
  ];
  for (const { name, data, says } of refused)
    it(`001-5: refuses ${name}`, () => {
      let told = '';
      try {
        parse(data);
      } catch (error) {
        told = String(error);
      }
      expect(told).toMatch(says);
    });

  it('any JSON value is a config or a coded error', () => {
    const keys = fc.constantFrom(
      'command',
      'config_files',
      'directories',
      'files',
      'permissions',
      'source',
      'dest',
      'owner',
      'perm',
      'path',
      'x',
    );
    const value = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        fc.string(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('node')),
        fc.dictionary(keys, tie('node')),
      ),
    })).node;
    fc.assert(
      fc.property(value, (data) => {
        try {
          expect(parse(data).command.argv.length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(CodedError);
        }
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 3000) },
    );
  });
  it('any text is a config or a coded error, as YAML and as JSON', () => {
    for (const parser of [parseYaml, JSON.parse])
      fc.assert(
        fc.property(fc.string({ unit: 'binary' }), (text) => {
          try {
            parseConfig('config', text, parser);
          } catch (error) {
            expect(error).toBeInstanceOf(CodedError);
          }
        }),
        { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
      );
  });
});

describe('finding the config file', () => {
  let box: Sandbox;
  beforeEach(() => {
    box = new Sandbox();
  });
  afterEach(() => box.remove());

  it('001-5: config.json is read when there is no config.yaml', () => {
    box.source('config.json', '{"command":"json"}');
    expect(loadConfig(box.root, parseYaml).command.text).toBe('json');
  });
  it('001-5: config.yaml comes first', () => {
    box.source('config.json', '{"command":"json"}');
    box.source('config.yaml', 'command: yaml\n');
    expect(loadConfig(box.root, parseYaml).command.text).toBe('yaml');
  });
  it('001-5: a full config.yaml', () => {
    box.source(
      'config.yaml',
      [
        'command: [nova-api, --config-file, /etc/nova/nova.conf]',
        'config_files:',
        '  - source: /var/lib/kolla/config_files/nova.conf',
        '    dest: /etc/nova/nova.conf',
        '    owner: nova',
        '    perm: "0600"',
        'permissions:',
        '  - {path: /var/log/kolla/nova, owner: "nova:nova", recurse: true}',
      ].join('\n'),
    );
    const config = loadConfig(box.root, parseYaml);
    expect(config.command.argv).toEqual(['nova-api', '--config-file', '/etc/nova/nova.conf']);
    expect(config.configFiles[0]?.ownership?.mode).toBe(0o600);
    expect(config.permissions[0]?.recurse).toBe(true);
  });
  it('001-5: an unquoted perm of YAML is refused with the answer', () => {
    box.source('config.yaml', 'command: x\nfiles: [{path: /a, owner: nova, perm: 0644}]\n');
    expect(() => loadConfig(box.root, parseYaml)).toThrowError(/in quotes, such as "0644"/);
  });
  it('001-5: a byte order mark is passed over', () => {
    box.source('config.json', '\uFEFF{"command":"x"}');
    expect(loadConfig(box.root, parseYaml).command.text).toBe('x');
  });

  const broken: { name: string; file: string; text: string; says: RegExp }[] = [
    { name: 'broken YAML', file: 'config.yaml', text: 'command: [a', says: /config\.yaml does not parse: .*line 1/ },
    { name: 'an empty config.yaml', file: 'config.yaml', text: '', says: /the file is null, not a mapping/ },
    { name: 'a repeated key in YAML', file: 'config.yaml', text: 'command: a\ncommand: b\n', says: /unique/ },
    { name: 'two YAML documents', file: 'config.yaml', text: 'command: a\n---\ncommand: b\n', says: /multiple documents/ },
    { name: 'something that is not JSON', file: 'config.json', text: '{command: x}', says: /config\.json does not parse/ },
  ];
  for (const { name, file: path, text, says } of broken)
    it(`001-5: refuses ${name}`, () => {
      box.source(path, text);
      expect(() => loadConfig(box.root, parseYaml)).toThrowError(says);
    });
  it('001-5: a missing config directory is named', () => {
    box.remove();
    expect(() => loadConfig(box.root, parseYaml)).toThrowError(/neither config.yaml nor config.json in \/var\/lib\/kolla\/config_files/);
  });
  it('001-5: a config file that cannot be read is named', () => {
    box.write('/var/lib/kolla/config_files/config.json/x', ''); // a directory of that name: unreadable to root as well
    expect(() => loadConfig(box.root, parseYaml)).toThrowError(/config\.json cannot be read: EISDIR/);
  });
});
