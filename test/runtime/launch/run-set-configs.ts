/** kolla_set_configs on another root, for tests that need another user: run-set-configs.ts ROOT [arguments]. */
import { writeSync } from 'node:fs';
import { setConfigsMain } from '../../../src/runtime/launch/set-configs-main.ts';
import { parseYaml } from '../../../src/runtime/launch/yaml-text.ts';

const [root = '', ...args] = process.argv.slice(2);
process.exitCode = setConfigsMain({ args, environment: process.env, yaml: parseYaml, write: (text) => writeSync(2, text), root });
