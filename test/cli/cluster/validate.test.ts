import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lineOf, validateFiles, validateTexts } from '../../../src/cli/cluster/validate.ts';
import { AS_PRINTED, CORRECTED, CREATE_AS_PRINTED } from '../../contract/onecloud/seed.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { refusal } from './world.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 500);
const lines = (text: string): string[] => validateTexts([{ file: 'x.yaml', text }]).problems.map(lineOf);

describe('004-1: cluster validate', () => {
  it("finds both misread letters of the documents' example, where they stand", () => {
    const text = AS_PRINTED.trimStart();
    const at = (word: string): string => {
      const line = text.split('\n').findIndex((one) => one.includes(`${word}:`));
      return `x.yaml:${line + 1}:${(text.split('\n')[line] ?? '').indexOf(word) + 1}`;
    };
    const found = lines(text);
    expect(found).toContainEqual(
      `${at('mysal')}: ONECLOUD_KEY_UNKNOWN: spec.mysal is neither a setting nor a component of a cluster. Did you mean mysql?`,
    );
    expect(found).toContainEqual(
      `${at('alance')}: ONECLOUD_KEY_UNKNOWN: spec.alance is neither a setting nor a component of a cluster. Did you mean glance?`,
    );
    expect(found.filter((line) => line.includes('ONECLOUD_FIELD_MISSING'))).toHaveLength(1); // spec.mysql
  });

  it('warns of a password in the file without showing it', () => {
    const found = lines(CORRECTED.trimStart());
    expect(found).toEqual([expect.stringMatching(/^x\.yaml:10:15: warning: ONECLOUD_SECRET_AS_VALUE: spec\.mysql\.password/)]);
    expect(found.join()).not.toContain('your-sql-password');
  });

  it('passes over other kinds, and not over a misspelled one', () => {
    const secret = 'apiVersion: v1\nkind: Secret\nmetadata: { name: x }\n';
    expect(validateTexts([{ file: 'x', text: `${secret}---\n${CORRECTED}` }])).toMatchObject({ clusters: 1 });
    expect(lines(CORRECTED.replace('OnecloudCluster', 'OneCloudClusters'))[0]).toContain('ONECLOUD_NOT_A_CLUSTER');
    expect(lines(CORRECTED.replace('/v1alpha1', '/v1alpha2'))[0]).toContain('ONECLOUD_NOT_A_CLUSTER');
  });

  it('finds a node port that two files want', () => {
    const second = CORRECTED.replace('name: "default"', 'name: "second"').replace('  vpcAgent:', '  logger:');
    const { problems } = validateTexts([
      { file: 'a.yaml', text: CORRECTED },
      { file: 'b.yaml', text: second },
    ]);
    const conflict = problems.find(({ message }) => message.includes('node port 30500'));
    expect(conflict).toMatchObject({ file: 'b.yaml', code: 'ONECLOUD_NODE_PORT_TAKEN' });
  });

  it('tells a wrong value where the value stands', () => {
    const text = CORRECTED.replace('replicas: 1', 'replicas: many').trimStart();
    const line = text.split('\n').findIndex((one) => one.includes('replicas: many'));
    expect(lines(text)).toContainEqual(expect.stringMatching(new RegExp(`^x\\.yaml:${line + 1}:15: ONECLOUD_FIELD_INVALID`)));
  });

  it('tells what is not YAML, line by line', () => {
    expect(lines('a: [1\nb: }\n')[0]).toMatch(/^x\.yaml:\d+:\d+: CLUSTER_FILE_SYNTAX: this is not YAML/);
    const bomb = `a0: &a0 [x]\n${Array.from({ length: 12 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(', ')}]`).join('\n')}\n`;
    expect(lines(bomb)[0]).toContain('CLUSTER_FILE_SYNTAX');
  });

  it('never throws, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((inner) => CREATE_AS_PRINTED.replace('region0', inner)),
        ),
        (text) => {
          for (const { line, column } of validateTexts([{ file: 'x', text }]).problems) expect(Math.min(line, column)).toBeGreaterThan(0);
        },
      ),
      { numRuns: RUNS },
    );
  });

  describe('of files', () => {
    const folder = temporaryFolder();
    beforeAll(() => {
      folder.create();
      writeFileSync(folder.path('good.yaml'), CORRECTED);
      writeFileSync(folder.path('bad.yaml'), AS_PRINTED);
      writeFileSync(folder.path('none.yaml'), 'apiVersion: v1\nkind: Secret\n');
    });
    afterAll(folder.remove);
    const run = async (...files: string[]) => {
      const printed: string[] = [];
      const work = async (): Promise<void> =>
        validateFiles(files, { print: (text) => void printed.push(text), asJson: false, readStdin: () => CORRECTED });
      return { printed, work };
    };

    it('prints a line for each problem, and refuses when one is an error', async () => {
      const { printed, work } = await run(folder.path('bad.yaml'));
      expect((await refusal(work())).code).toBe('CLUSTER_FILE_PROBLEMS');
      expect(printed.length).toBeGreaterThan(2);
      const good = await run(folder.path('good.yaml'));
      await good.work();
      expect(good.printed.at(-1)).toBe('1 cluster is well formed');
      const stdin = await run('-');
      await stdin.work();
      expect(stdin.printed[0]).toContain('standard input:');
    });

    it.each([
      ['none.yaml', 'CLUSTER_FILE_WITHOUT'],
      ['absent.yaml', 'CLUSTER_FILE_UNREADABLE'],
    ])('%s', async (name, code) => {
      expect((await refusal((await run(folder.path(name))).work())).code).toBe(code);
    });
  });
});
