/** What the operator's tests share: objects to write, and a recorder of what an informer tells. */

import type { Informer, ObjectEvent } from '../../src/operator/engine/informer.ts';
import type { KubeObject, LiveObject } from '../../src/operator/engine/objects.ts';
import { keyOf } from '../../src/operator/engine/objects.ts';

export const NAMESPACE = 'default';

export function configMap(name: string, data: Record<string, string> = {}, metadata: Partial<KubeObject['metadata']> = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: NAMESPACE, ...metadata }, data };
}

export function deployment(name: string, spec: Record<string, unknown> = {}, metadata: Partial<KubeObject['metadata']> = {}): KubeObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: NAMESPACE, ...metadata },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image: 'registry.example/glance:1' }] } },
      ...spec,
    },
  };
}

/** Keeps what an informer told, and checks that it makes sense: nothing added twice, nothing changed that is not there. */
export class Recorder {
  readonly events: ObjectEvent[] = [];
  readonly nonsense: string[] = [];
  readonly state = new Map<string, LiveObject>();

  constructor(informer: Informer) {
    informer.subscribe((event) => this.#hear(event));
  }

  #hear(event: ObjectEvent): void {
    this.events.push(event);
    const key = keyOf(event.object);
    const known = this.state.get(key);
    const complain = (what: string): void => void this.nonsense.push(`${event.type} ${key}: ${what}`);
    switch (event.type) {
      case 'added':
        if (known) complain('is known already');
        this.state.set(key, event.object);
        return;
      case 'updated':
        if (known?.metadata.resourceVersion !== event.previous.metadata.resourceVersion) complain('previous is not what was told before');
        if (event.object.metadata.resourceVersion === event.previous.metadata.resourceVersion) complain('did not change');
        if (event.object.metadata.uid !== event.previous.metadata.uid) complain('is another object');
        this.state.set(key, event.object);
        return;
      case 'deleted':
        if (!known) complain('is not known');
        this.state.delete(key);
        return;
      case 'resync':
        if (known?.metadata.resourceVersion !== event.object.metadata.resourceVersion) complain('differs from what was told');
        return;
    }
  }
}
