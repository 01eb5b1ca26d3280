import { describe, expect, it } from 'vitest';
import { phasesOf } from '../../lab/deploy-case.ts';
import { drawRun } from '../../lab/support/timeline.ts';

describe('the picture of a run', () => {
  const picture = drawRun({
    title: 'bios <iscsi> & more',
    phases: [
      { name: 'firmware', fromS: 0, toS: 5 },
      { name: 'own system', fromS: 5, toS: 20 },
    ],
    events: [{ atS: 12.34, what: 'bms: "done"' }],
  });

  it('has each phase from its beginning to its end, to scale', () => {
    const bars = [...picture.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)].map(([, x, width]) => [Number(x), Number(width)]);
    expect(bars).toEqual([
      [20, 240],
      [260, 720],
    ]);
    expect(picture).toContain('own system 15.0 s');
    expect(picture).toContain('12.3 s bms: "done"');
  });

  it('is well-formed whatever is in it', () => {
    expect(picture).toContain('bios &lt;iscsi&gt; &amp; more: 20.0 s');
    expect(picture.match(/<(\w+)[^>]*[^/]>/g)?.filter((tag) => tag.startsWith('<svg') || tag.startsWith('<style')).length).toBe(2);
  });
});

describe('the phases of a run', () => {
  it('follow each other, and one that was not seen is left out', () => {
    const console = new Map([
      ['deploy ramdisk', 6_000],
      ['marker', 30_000],
    ]);
    const history = new Map([['deploy complete', 12_000]]);
    const phases = phasesOf(1_000, { console: (what) => console.get(what), history: (state) => history.get(state) });
    expect(phases).toEqual([
      { name: 'firmware and loader', fromS: 0, toS: 5 },
      { name: 'write and verify', fromS: 5, toS: 11 },
      { name: 'own system', fromS: 11, toS: 29 },
    ]);
  });
});
