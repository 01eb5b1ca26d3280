import { App, type Chart } from 'cdk8s';
import { Site } from 'cdk8s-baremetal';
import type { SiteInput } from 'cdk8s-baremetal-contract';
import type { Manifest } from './kubernetes-schema.ts';

/** A manifest whose parts a test may look into. */
// biome-ignore lint/suspicious/noExplicitAny: tests read deep into objects of every kind
export type AnyManifest = Manifest & { readonly spec: any; readonly data: any; readonly rules: any; readonly subjects: any };

/** The manifests of a site, in the order of its file. */
export function synthSite(input: SiteInput): AnyManifest[] {
  return manifestsOf(Site.fromInput(new App(), input));
}

export function manifestsOf(chart: Chart): AnyManifest[] {
  return chart.toJson() as AnyManifest[];
}

/** The one manifest of a kind and name. */
export function find(manifests: readonly AnyManifest[], kind: string, name: string): AnyManifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found.length !== 1 || !found[0]) {
    throw new Error(
      `${found.length} manifests are ${kind} ${name}; there are ${manifests.map((m) => `${m.kind} ${m.metadata.name}`).join(', ')}`,
    );
  }
  return found[0];
}

/** What synthesis says of a broken site: its error lines. */
export function problemsOf(build: (app: App) => Chart): string[] {
  const app = new App();
  const chart = build(app);
  try {
    chart.toJson();
  } catch (error) {
    const [, ...lines] = String(error instanceof Error ? error.message : error).split('\n');
    return lines.map((line) => line.trim());
  }
  return [];
}
