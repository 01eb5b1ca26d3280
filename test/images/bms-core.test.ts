import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bundles } from '../../scripts/bundles.ts';
import { seedSite } from '../support/seed-site.ts';
import { find, synthSite } from '../support/synth.ts';

const dockerfile = readFileSync('images/bms-core/Dockerfile', 'utf8');
const [, ...stages] = dockerfile.split(/^FROM /m);
const shipped = stages.at(-1) ?? '';

describe('000-1: the image of bms-core', () => {
  it('builds in stages of its own and ships what they made', () => {
    expect(stages.length).toBeGreaterThan(1);
    expect(shipped).not.toContain('npm ci');
    for (const [, stage] of shipped.matchAll(/--from=(\S+)/g)) expect(dockerfile).toContain(` AS ${stage}\n`);
  });

  it('is set to Shanghai by the name that the time zone database knows', () => {
    expect(dockerfile).toContain('TZ=Asia/Shanghai');
    expect(new Intl.DateTimeFormat('en', { timeZone: 'Asia/Shanghai' }).resolvedOptions().timeZone).toBe('Asia/Shanghai');
    expect(shipped).toContain('tzdata');
  });

  it('works in /app as a numeric user, with NFS tooling', () => {
    expect(shipped).toMatch(/^WORKDIR \/app$/m);
    expect(shipped).toMatch(/^USER \d+:\d+$/m);
    expect(shipped).toContain('nfs-common');
  });

  it('carries every program that a manifest starts, and each of them is built', () => {
    const copied = [...dockerfile.matchAll(/\/src\/lib\/([\w-]+)\.cjs/g)].map((match) => match[1]);
    const started = [synthSite(seedSite()), synthSite({ ...seedSite(), bmsCore: { form: 'seed' } })]
      .flatMap((manifests) => manifests.filter((manifest) => manifest.kind === 'DaemonSet'))
      .flatMap((manifest) => [...JSON.stringify(manifest).matchAll(/\/app\/([\w-]+)\.cjs/g)].map((match) => match[1]));
    expect(new Set(started).size).toBe(3);
    for (const program of started) expect(copied).toContain(program);
    for (const program of copied) expect(bundles.map((bundle) => bundle.name)).toContain(program);
  });

  it('000-2: pulls from the original registry unless a site says otherwise', () => {
    const [container] = find(synthSite(seedSite()), 'DaemonSet', 'bms-core-pod45-wuxi2').spec.template.spec.containers;
    expect(container.image).toMatch(/^harbor\.capitalonline\.net\/bms-test\/bms_core:/);
  });
});
