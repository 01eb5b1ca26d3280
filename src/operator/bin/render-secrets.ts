/** The program render-secrets: an init container that puts passwords from a Secret into a component's configuration. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderProgram, renderSecrets } from 'cdk8s-baremetal-contract/onecloud/render-secrets';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { replaceFile } from 'cdk8s-baremetal-runtime/core/replace-file';

/** EX_CONFIG of sysexits.h. */
const BAD_CONFIGURATION = 78;
const READABLE_BY_ITS_GROUP = 0o440;

const { variables } = renderProgram;
const folder = (name: keyof typeof variables): string => process.env[variables[name]] ?? renderProgram[name];

/** Names that begin with ".." are the kubelet's own links. */
const filesOf = (path: string): string[] => readdirSync(path).filter((name) => !name.startsWith('..'));

const secrets = new Map(
  filesOf(folder('secrets')).map((key) => [key, new Secret(readFileSync(join(folder('secrets'), key), 'utf8').replace(/\r?\n$/, ''))]),
);
const rendered = filesOf(folder('templates')).map((file) => ({
  file,
  ...renderSecrets(readFileSync(join(folder('templates'), file), 'utf8'), secrets, file),
}));
const problems = rendered.flatMap((result) => result.problems);
if (problems.length > 0) {
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.exitCode = BAD_CONFIGURATION;
} else {
  for (const { file, text } of rendered) {
    if (text !== undefined) replaceFile(join(folder('output'), file), text.reveal(), READABLE_BY_ITS_GROUP);
  }
}
