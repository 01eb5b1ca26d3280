/** A manager in a process of its own, to be killed. Arguments: namespace, identity. */
import { nodeClock } from '../../src/runtime/core/node-clock.ts';
import { realApi } from './cluster.ts';
import { startMirror } from './mirror.ts';

const [namespace = '', identity = ''] = process.argv.slice(2);
const mirror = startMirror({ api: realApi().api, clock: nodeClock, namespace, identity });
process.stdout.write('started\n');
await mirror.running;
