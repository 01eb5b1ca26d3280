/** bmctl watch: what happens, as it happens, until it is interrupted. */
import type { ApiEvent } from 'cdk8s-baremetal-contract/api/index';
import type { Command } from 'commander';
import type { CommandContext } from '../node-commands.ts';
import { parseEvents } from './follow.ts';

export function registerWatch(program: Command, context: () => Promise<CommandContext>): void {
  program
    .command('watch')
    .description('what happens to the machines, or to one, as it happens; ends when it is interrupted')
    .argument('[node]', 'name, UUID, number or MAC address')
    .action(async (node: string | undefined) => watch(await context(), node));
}

/** Answer by answer, each going on after the last event that was seen. A break in the connection ends it: the caller decides whether to go on. */
async function watch({ api, asJson, print, signal }: CommandContext, node: string | undefined): Promise<void> {
  let lastId: string | undefined;
  for (;;) {
    const text = await api.text('events', {
      query: { once: 'true', node },
      signal,
      ...(lastId !== undefined && { headers: { 'last-event-id': lastId } }),
    });
    const { id, events } = parseEvents(text);
    for (const event of events) {
      const line = asJson ? JSON.stringify(event) : inWords(event, lastId === undefined);
      if (line !== undefined) print(line);
    }
    lastId = id ?? lastId;
  }
}

/** `present`: the machines as they are at the beginning; afterwards their transitions tell the same. */
function inWords(event: ApiEvent, present: boolean): string | undefined {
  switch (event.type) {
    case 'node':
      return present ? `${event.node.since}  ${event.node.name}  is ${event.node.state}: ${event.node.reason}` : undefined;
    case 'transition':
      return `${event.at}  ${event.node.name}  ${event.from} → ${event.to}: ${event.reason}`;
    case 'seen':
      return `${event.at}  ${event.node.name}  ${event.what}${event.detail === undefined ? '' : `  ${event.detail}`}`;
    case 'removed':
      return `${event.node.name}  is no longer enrolled`;
    case 'reset':
      return `-- ${event.reason}`;
  }
}
