/**
 * One replica as a process of its own: `member-process.ts <url> <session ms> join <name>` prints the member's id and stays;
 * `… hold <name> <rounds> <journal>` takes a place of four in the semaphore, again and again, and writes `+` and `-` to the journal while it has one.
 */
import { appendFileSync } from 'node:fs';
import { openCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { serviceAccount } from 'cdk8s-baremetal-runtime/store/kubernetes/service-account';
import { openLeases } from './open-leases.ts';

const [url = '', sessionMs, verb, name = '', rounds, journal = ''] = process.argv.slice(2);
const directory = process.env.SERVICE_ACCOUNT_DIRECTORY;
const group =
  directory === undefined
    ? openCoordination(url, { clock: nodeClock, sessionTimeoutMs: Number(sessionMs) })
    : openLeases(url, serviceAccount({ env: process.env, clock: nodeClock, directory }), Number(sessionMs));

if (verb === 'join') {
  const member = await group.join(name);
  process.stdout.write(`${member.id}\n`);
  await new Promise((resolve) => member.lost.addEventListener('abort', resolve));
} else {
  for (let round = 0; round < Number(rounds); round++) {
    const lease = await group.acquire(name, { limit: 4, timeoutMs: 30_000 });
    appendFileSync(journal, '+');
    await sleep(nodeClock, 20);
    appendFileSync(journal, lease.lost.aborted ? 'lost' : '-');
    await lease.release();
  }
}
await group.close();
