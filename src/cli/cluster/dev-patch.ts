/**
 * What `dev sync` adds to a Deployment: a volume that outlives a restart of the container, an init container that waits for the
 * program to be copied into it, and the program mounted over the image's own.
 *
 * A container's own file system is thrown away when its program ends, so a program that is merely copied over would be gone with
 * the restart that is to start it. Everything here is applied under a field manager of its own: the operator, which leaves fields
 * alone that are not its, neither removes it nor counts it as drift, and applying nothing under that name takes it all back.
 */
import { asList, asObject, asText, type Fields } from 'cdk8s-baremetal-contract/loose';
import type { Component } from 'cdk8s-baremetal-contract/onecloud/index';
import type { KubeObject, LiveObject } from '../../operator/engine/objects.ts';
import { clusterAnnotation } from './names.ts';

const DEV_CONTAINER = 'dev-sync';
const VOLUME = 'dev-sync';
const DIRECTORY = '/dev-sync';

/** A pod that is made anew without anybody to copy, on another node say, goes on with the image's own program after this. */
const WAIT_SECONDS = 300;

/** $1: the image's own program, $2: seconds. */
const WAIT = `i=0
while [ ! -e ${DIRECTORY}/program ] && [ "$i" -lt "$2" ]; do sleep 1; i=$((i + 1)); done
[ -e ${DIRECTORY}/program ] || cp "$1" ${DIRECTORY}/program`;

/**
 * $1: bytes to come. Their number ends the reading: not every API server passes the end of standard input on. The program is
 * there whole or not at all.
 */
const RECEIVE = `umask 022
head -c "$1" > ${DIRECTORY}/.new && [ "$(wc -c < ${DIRECTORY}/.new)" -eq "$1" ] && chmod 0755 ${DIRECTORY}/.new && mv ${DIRECTORY}/.new ${DIRECTORY}/program`;

export function receiveCommand(bytes: number): string[] {
  return ['/bin/sh', '-c', RECEIVE, DEV_CONTAINER, String(bytes)];
}

/** The container's first process ends as if it had been stopped; the kubelet starts it again, with the program that is there now. */
export const RESTART_COMMAND = ['/bin/sh', '-c', 'kill -TERM 1'];

export function devPatch(
  deployment: LiveObject,
  { row, path, note }: { readonly row: Component; readonly path: string; readonly note: string },
): KubeObject {
  const { image, imagePullPolicy, securityContext } = mainContainer(deployment, row.name);
  return {
    ...emptyPatch(deployment),
    metadata: { ...emptyPatch(deployment).metadata, annotations: { [clusterAnnotation.devSync]: note } },
    spec: {
      template: {
        // the path and not the note: another copy must not roll the pods
        metadata: { annotations: { [clusterAnnotation.devSync]: path } },
        spec: {
          volumes: [{ name: VOLUME, emptyDir: {} }],
          initContainers: [
            {
              name: DEV_CONTAINER,
              image,
              imagePullPolicy,
              command: ['/bin/sh', '-c', WAIT, DEV_CONTAINER, path, String(WAIT_SECONDS)],
              ...(securityContext !== undefined && { securityContext }),
              volumeMounts: [{ name: VOLUME, mountPath: DIRECTORY }],
            },
          ],
          containers: [
            {
              name: row.name,
              volumeMounts: [
                { name: VOLUME, mountPath: DIRECTORY },
                { name: VOLUME, mountPath: path, subPath: 'program', readOnly: true },
              ],
            },
          ],
        },
      },
    },
  };
}

/** Applied under the same name, it takes everything back. */
export function emptyPatch({ apiVersion, kind, metadata: { name, namespace } }: LiveObject): KubeObject {
  return { apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) } };
}

/** The path that the pods have a copied program at, when they have one. */
export function copiedPath(deployment: LiveObject): string | undefined {
  const { annotations } = asObject(asObject(asObject(deployment.spec).template).metadata);
  return asText(asObject(annotations)[clusterAnnotation.devSync]);
}

/** A pod that waits for its program, or runs with one. */
export function copyTarget(pod: LiveObject, component: string): { readonly container: string; readonly running: boolean } | undefined {
  if (pod.metadata.deletionTimestamp !== undefined || pod.metadata.annotations?.[clusterAnnotation.devSync] === undefined) return undefined;
  const { initContainerStatuses, containerStatuses } = asObject(pod.status);
  const runs = (list: unknown, name: string): boolean =>
    asList(list).some((status) => asObject(status).name === name && asObject(asObject(status).state).running !== undefined);
  if (runs(initContainerStatuses, DEV_CONTAINER)) return { container: DEV_CONTAINER, running: false };
  if (runs(containerStatuses, component)) return { container: component, running: true };
  return undefined;
}

function mainContainer(deployment: LiveObject, name: string): Fields {
  const { containers } = asObject(asObject(asObject(deployment.spec).template).spec);
  return asObject(asList(containers).find((container) => asObject(container).name === name));
}
