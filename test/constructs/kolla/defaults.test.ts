import { readFileSync } from 'node:fs';
import { KollaDefaultsError, type KollaDefaultsOptions, parseKollaDefaults, parseKollaService } from 'cdk8s-baremetal/kolla/index';
import { describe, expect, it } from 'vitest';

const EXAMPLE = readFileSync(new URL('../../../examples/nova-api/defaults.yml', import.meta.url), 'utf8');
const VARIABLES = { docker_registry: 'harbor.example.net', openstack_tag: '2026.1' };

/** The definition that the original's article shows. */
const SEED = `
nova-api:
  container_name: "nova_api"
  group: "nova-api"
  image: "{{ nova_api_image_full }}"
  enabled: True
  privileged: True
  volumes:
    - "{{ node_config_directory }}/nova-api/:{{ container_config_directory }}/:ro"
    - "/etc/localtime:/etc/localtime:ro"
    - "/lib/modules:/lib/modules:ro"
    - "kolla_logs:/var/log/kolla/"
`;

const service = (line: string): string => `a:\n  container_name: a\n  group: g\n  ${line}\n`;
const read = (text: string, options: KollaDefaultsOptions = {}) => parseKollaService(text, undefined, options);
const refused = (text: string, options: KollaDefaultsOptions = {}): string[] => {
  try {
    read(text, options);
  } catch (error) {
    if (error instanceof KollaDefaultsError) return error.problems.map(String);
    throw error;
  }
  return [];
};

describe('001-1: a service as kolla-ansible defines it', () => {
  it('the definition of the documents, with its variables resolved', () => {
    expect(read(SEED, { variables: { nova_api_image_full: 'kolla/nova-api:train' } })).toEqual({
      container_name: 'nova_api',
      group: 'nova-api',
      image: 'kolla/nova-api:train',
      enabled: true,
      privileged: true,
      volumes: [
        '/etc/kolla/nova-api/:/var/lib/kolla/config_files/:ro',
        '/etc/localtime:/etc/localtime:ro',
        '/lib/modules:/lib/modules:ro',
        'kolla_logs:/var/log/kolla/',
      ],
    });
  });

  it('variables of the file itself, through each other; a whole text takes on the type of its variable', () => {
    const definition = parseKollaService(EXAMPLE, 'nova-api', { variables: VARIABLES });
    expect(definition.image).toBe('harbor.example.net/kolla/nova-api:2026.1');
    expect(definition.privileged).toBe(false);
    expect(definition.dimensions).toEqual({ mem_limit: '2g', mem_reservation: '512m', cpu_shares: 512 });
    expect(definition.healthcheck).toEqual({
      interval: 30,
      retries: 3,
      start_period: 5,
      timeout: 30,
      test: ['CMD-SHELL', 'healthcheck_curl http://127.0.0.1:8774'],
    });
    expect(definition.volumes).toContain('');
  });

  it('all services of a file, by name', () => {
    const two = `x_services:\n  one: {container_name: one, group: g, image: "i:1"}\n  two: {container_name: two, group: g, image: "i:{{ n }}"}\n`;
    expect([...parseKollaDefaults(two, { variables: { n: 2 } })].map(([name, { image }]) => [name, image])).toEqual([
      ['one', 'i:1'],
      ['two', 'i:2'],
    ]);
  });

  it.each([
    ['image: "{{ x | default(\'i:1\') }}"', {}, 'i:1'],
    ['image: "{{ x | default(y) }}"', { y: 'i:2' }, 'i:2'],
    ['image: "{{ x | default(\'i:3\', true) }}"', { x: '' }, 'i:3'],
    ['image: "{{ x | default(\'i|4:1\') }}"', {}, 'i|4:1'],
    ['image: "a{{ x }}-{{y}}:1"', { x: 1, y: 'b' }, 'a1-b:1'],
  ])('%s', (line, variables, image) => expect(read(service(line), { variables }).image).toBe(image));

  it.each([
    ['yes', true],
    ['True', true],
    [1, true],
    ['no', false],
    ['anything', false],
  ])('%s | bool is %s', (value, expected) => {
    const text = service('image: i:1\n  privileged: "{{ x | bool }}"');
    expect(read(text, { variables: { x: value } }).privileged).toBe(expected);
  });
});

describe('001-1: what cannot be read is refused by name', () => {
  it('a variable that nobody gives, with the nearest', () => {
    expect(refused(service('image: "{{ nova_api_imagefull }}"'), { variables: { nova_api_image_full: 'i:1' } })).toEqual([
      'KOLLA_VARIABLE_UNKNOWN: a.image needs the variable "nova_api_imagefull", which nobody gives (did you mean "nova_api_image_full"?). Give variables: { nova_api_imagefull: … }, or write {{ nova_api_imagefull | default(…) }}',
    ]);
  });

  it.each([
    '{{ a + b }}',
    '{{ a if b else c }}',
    "{{ a | map('x') }}",
    "{{ lookup('env', 'HOME') }}",
    '{{ a.b }}',
    '{% if a %}x{% endif %}',
    '{{ a | default(b + 1) }}',
  ])('an expression: %s', (expression) => {
    const [problem, ...rest] = refused(service(`image: "${expression}"`), { variables: { a: 'x', b: 'y', c: 'z' } });
    expect(rest).toEqual([]);
    expect(problem).toMatch(/^KOLLA_EXPRESSION: a\.image holds "/);
  });

  it('variables in a circle', () => {
    expect(refused(`${service('image: "{{ x }}"')}x: "{{ y }}"\ny: "{{ x }}"\n`)).toEqual([
      'KOLLA_VARIABLE_CYCLE: the variables x → y → x define each other. Give one of them a value',
    ]);
  });

  it('every problem at once: an unknown key, and what is missing', () => {
    const text = 'a:\n  container_name: a\n  volums: []\n  privileged: "maybe"\n';
    expect(refused(text).map((line) => line.slice(0, 70))).toEqual(
      [
        'KOLLA_KEY_MISSING: a has no "group". Add "group"',
        'KOLLA_KEY_MISSING: a has no "image". Add "image"',
        'KOLLA_KEY_UNKNOWN: a has the unknown key "volums" (did you mean "volume',
        'KOLLA_VALUE: a.privileged is "maybe": it must be true or false. Correct',
      ].map((line) => line.slice(0, 70)),
    );
  });

  it('a service that the file does not define', () => {
    expect(() => parseKollaService(EXAMPLE, 'nova-apo', { variables: VARIABLES })).toThrow(
      'KOLLA_SERVICE_UNKNOWN: no service "nova-apo" is defined (did you mean "nova-api"?)',
    );
  });

  it('text that is no YAML', () => expect(refused('a: [')[0]).toMatch(/^KOLLA_DEFAULTS_SYNTAX/));
});
