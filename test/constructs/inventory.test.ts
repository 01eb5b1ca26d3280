import { writeFileSync } from 'node:fs';
import { App } from 'cdk8s';
import { InventoryError, parseInventory, readInventory, Site } from 'cdk8s-baremetal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { seedSite } from '../support/seed-site.ts';
import { find, manifestsOf, synthSite } from '../support/synth.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** The site as people would keep it. */
const INVENTORY = stringify(seedSite());

function problems(text: string): string[] {
  try {
    parseInventory(text, 'site.yaml');
  } catch (error) {
    if (error instanceof InventoryError) return error.message.split('\n');
    throw error;
  }
  return [];
}

/** 1-based line of the first line that contains `text`. */
function lineOf(inventory: string, text: string): number {
  return inventory.split('\n').findIndex((line) => line.includes(text)) + 1;
}

describe('an inventory file', () => {
  it('makes the same manifests as the constructs', () => {
    const [input] = parseInventory(INVENTORY, 'site.yaml');
    if (!input) throw new Error('the inventory has no site');
    expect(manifestsOf(Site.fromInput(new App(), input))).toEqual(synthSite(seedSite()));
  });

  it('holds a site per document', () => {
    const other = { ...seedSite(), name: 'wuxi3', namespace: 'wuxi3', pods: [] };
    expect(parseInventory(`${INVENTORY}---\n${stringify(other)}`, 'site.yaml').map((site) => site.name)).toEqual(['wuxi2', 'wuxi3']);
  });

  it('names file, line and field of every problem at once', () => {
    const broken = INVENTORY.replace('mac: 52:54:00:45:00:02', 'mac: 52:54:00:45:00:01')
      .replace('cpus: 32', 'cpu: 32')
      .replace('1800": 192.168.50.20', '1800": 192.168.51.20');
    expect(broken).not.toBe(INVENTORY);
    const lines = problems(broken);
    expect(lines).toHaveLength(4);
    const told = (code: string): string | undefined => lines.find((line) => line.includes(` ${code}: `));
    expect(told('SITE_VIP_OUTSIDE_NETWORK')).toContain(`site.yaml:${lineOf(broken, '192.168.51.20')}:`);
    expect(told('SITE_FIELD_UNKNOWN')).toContain(`site.yaml:${lineOf(broken, 'cpu: 32')}:`);
    expect(told('SITE_FIELD_UNKNOWN')).toContain('pods[0].machines[0].cpu is not a field of the model. Did you mean cpus?');
    expect(told('SITE_FIELD_MISSING')).toContain('pods[0].machines[0].cpus is missing');
    const lastUse = broken.split('\n').findLastIndex((line) => line.includes('52:54:00:45:00:01')) + 1;
    expect(told('SITE_DUPLICATE_MAC')).toContain(`site.yaml:${lastUse}:`);
  });

  it('names the line also behind an empty document', () => {
    const broken = `---\n---\n${INVENTORY.replace('cpus: 32', 'cpus: 0')}`;
    expect(problems(broken)).toEqual([expect.stringContaining(`site.yaml:${lineOf(broken, 'cpus: 0')}:`)]);
  });

  it('points at the option of bms-core that is wrong', () => {
    const broken = INVENTORY.replace('conn_type: telnet', 'con_type: telnet');
    const [line, ...others] = problems(broken);
    expect(others).toEqual([]);
    expect(line).toContain(`site.yaml:${lineOf(broken, 'con_type')}:`);
    expect(line).toContain('Did you mean conn_type?');
  });

  it('takes options of bms-core that are lists, and says how one is written', () => {
    const withInterfaces = (interfaces: unknown): string => {
      const site = seedSite();
      if (site.pods[0]) Object.assign(site.pods[0], { config: { dhcp: { interfaces } } });
      return stringify(site);
    };
    const [input] = parseInventory(withInterfaces(['eth0.1800', 'eth0.1900']), 'site.yaml');
    if (!input) throw new Error('the inventory has no site');
    const { config } = find(manifestsOf(Site.fromInput(new App(), input)), 'ConfigMap', 'pod45-wuxi2-bmscore').data;
    expect(config).toContain('[dhcp]\ninterfaces = eth0.1800,eth0.1900\n');
    expect(problems(withInterfaces('eth0.1800'))).toEqual([
      expect.stringContaining('[dhcp] interfaces: "eth0.1800" is not a list, such as [one, two]'),
    ]);
    expect(problems(withInterfaces({ first: 'eth0.1800' }))).toEqual([
      expect.stringContaining('must be text, a number, true, false or a list of texts'),
    ]);
  });

  it('says where the YAML breaks', () => {
    expect(problems('name: wuxi2\npods: [\n')).toEqual([expect.stringMatching(/^site\.yaml:[23]:\d+: INVENTORY_SYNTAX: /)]);
    expect(problems('name: a\nname: b\n')).toEqual([expect.stringMatching(/^site\.yaml:2:1: INVENTORY_SYNTAX: .*unique/)]);
  });

  it.each(['', '# nothing\n', '---\n'])('refuses one without a site: %j', (text) => {
    expect(problems(text)).toEqual([expect.stringContaining('INVENTORY_EMPTY')]);
  });

  it.each(['42', '- a', 'text'])('refuses what is no site: %s', (text) => {
    expect(problems(text)).toEqual(expect.arrayContaining([expect.stringContaining('SITE_FIELD_')]));
  });

  it('does not follow an alias bomb', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      'b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]',
      'c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]',
      'name: [*c,*c,*c,*c,*c,*c]',
    ].join('\n');
    expect(problems(bomb)).toEqual([expect.stringContaining('INVENTORY_SYNTAX')]);
  });
});

describe('reading the file', () => {
  const folder = temporaryFolder();
  beforeAll(folder.create);
  afterAll(folder.remove);

  it('reads what is there', () => {
    writeFileSync(folder.path('site.yaml'), INVENTORY);
    expect(readInventory(folder.path('site.yaml'))).toHaveLength(1);
  });

  it('says which file is not', () => {
    expect(() => readInventory(folder.path('missing.yaml'))).toThrow(/missing\.yaml.*INVENTORY_UNREADABLE/);
  });
});
