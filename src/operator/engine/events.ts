/**
 * Events for `kubectl describe`: events.k8s.io/v1, one object per story. The same story again within ten minutes only counts the
 * first one up, and at most once in half a minute, so that a failing reconcile does not fill etcd.
 */
import { createHash } from 'node:crypto';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { KubeApi } from './api.ts';
import { isApiError } from './api-error.ts';
import type { KubeObject, LiveObject } from './objects.ts';
import { resourceTypes } from './resource-types.ts';

export interface EventStory {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, at most 128 characters. */
  readonly reason: string;
  /** CamelCase: what was done or tried. */
  readonly action: string;
  /** At most 1,024 characters; cut otherwise. Never a secret. */
  readonly note: string;
}

export interface EventRecorder {
  /** Never rejects: what cannot be told is logged. */
  record(about: LiveObject, story: EventStory): Promise<void>;
}

export interface EventRecorderOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly logger: Logger;
  /** "onecloud.yunion.io/operator". */
  readonly controller: string;
  /** Pod name. */
  readonly instance: string;
}

/** Length of one series. */
const SERIES_MS = 600_000;
const COUNT_EVERY_MS = 30_000;
const MAX_NOTE = 1024;
/** Stories remembered; the oldest are forgotten first. */
const MAX_STORIES = 1000;

interface Told {
  readonly name: string;
  readonly startedAt: number;
  count: number;
  countedAt: number;
}

export function createEventRecorder({ api, clock, logger, controller, instance }: EventRecorderOptions): EventRecorder {
  const told = new Map<string, Told>();
  const type = resourceTypes.events;

  const first = async (about: LiveObject, story: EventStory, note: string, identity: string): Promise<void> => {
    const now = clock.monotonic();
    const name = `${about.metadata.name.slice(0, 200)}.${createHash('sha256').update(`${instance} ${identity} ${clock.now()}`).digest('hex').slice(0, 16)}`;
    told.set(identity, { name, startedAt: now, count: 1, countedAt: now });
    for (const oldest of told.keys()) {
      if (told.size <= MAX_STORIES) break;
      told.delete(oldest);
    }
    const event: KubeObject = {
      apiVersion: type.apiVersion,
      kind: type.kind,
      metadata: { name, namespace: about.metadata.namespace ?? 'default' },
      eventTime: microTime(clock),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      type: story.type,
      reason: story.reason,
      action: story.action,
      note,
      regarding: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name: about.metadata.name,
        namespace: about.metadata.namespace,
        uid: about.metadata.uid,
        resourceVersion: about.metadata.resourceVersion,
      },
    };
    await api.create(type, event);
  };

  const again = async (about: LiveObject, before: Told): Promise<boolean> => {
    before.count += 1;
    const now = clock.monotonic();
    if (now - before.countedAt < COUNT_EVERY_MS) return true;
    before.countedAt = now;
    const namespace = about.metadata.namespace ?? 'default';
    try {
      await api.patch(type, { namespace, name: before.name }, { series: { count: before.count, lastObservedTime: microTime(clock) } });
      return true;
    } catch (error) {
      if (isApiError(error, 'not-found')) return false; // the server keeps events for an hour, or somebody deleted it
      throw error;
    }
  };

  return {
    record: async (about, story) => {
      const note = story.note.length > MAX_NOTE ? `${story.note.slice(0, MAX_NOTE - 1)}…` : story.note;
      const identity = JSON.stringify([about.metadata.uid, story.type, story.reason, story.action, note]);
      const before = told.get(identity);
      try {
        if (before && clock.monotonic() - before.startedAt < SERIES_MS && (await again(about, before))) return;
        await first(about, story, note, identity);
      } catch (error) {
        logger.warn({ reason: story.reason, error: error instanceof Error ? error.message : String(error) }, 'the event was not written');
      }
    },
  };
}

function microTime(clock: Clock): string {
  return isoTime(clock.now()).replace('Z', '000Z');
}
