/**
 * All sites of one app, seen together: MAC addresses and names must differ across sites. cdk8s validates the whole app once
 * per chart, so the answer is kept until the model changes.
 */

import { ApiObject } from 'cdk8s';
import { type DataPath, type SiteInput, siteErrors, validateSites } from 'cdk8s-baremetal-contract';
import type { IConstruct } from 'constructs';

/** A site that takes part: what it says of itself, and which construct stands for a place in it. */
export interface FleetMember {
  readonly input: SiteInput;
  /** The construct that stands for the value at `path`, or for the closest thing around it. */
  constructAt(path: DataPath): IConstruct;
}

export class Fleet {
  private static readonly fleets = new WeakMap<IConstruct, Fleet>();

  /** The fleet of the app that `scope` belongs to. */
  static of(scope: IConstruct): Fleet {
    const { root } = scope.node;
    let fleet = Fleet.fleets.get(root);
    if (!fleet) {
      fleet = new Fleet();
      Fleet.fleets.set(root, fleet);
    }
    return fleet;
  }

  private readonly members: FleetMember[] = [];
  private problems: Map<IConstruct, string[]> | undefined;

  add(member: FleetMember): void {
    this.members.push(member);
    this.changed();
  }

  /** To be called whenever a site's data changes. */
  changed(): void {
    this.problems = undefined;
  }

  /** What is wrong at this construct, ready to print. */
  problemsOf(construct: IConstruct): string[] {
    this.problems ??= this.validate(construct.node.root);
    return this.problems.get(construct) ?? [];
  }

  private validate(root: IConstruct): Map<IConstruct, string[]> {
    const found = new Map<IConstruct, string[]>();
    const report = (construct: IConstruct, problem: string): void => {
      found.set(construct, [...(found.get(construct) ?? []), problem]);
    };
    for (const { site, path, error } of validateSites(this.members.map((member) => member.input))) {
      const construct = this.members[site]?.constructAt(path);
      if (construct) report(construct, String(error));
    }
    reportDuplicateObjects(root, this.members, report);
    return found;
  }
}

/** Two objects of one kind, namespace and name: `kubectl apply` would let the later one win without a word. */
function reportDuplicateObjects(
  root: IConstruct,
  members: readonly FleetMember[],
  report: (construct: IConstruct, problem: string) => void,
): void {
  const holders = new Map<string, string>();
  for (const construct of root.node.findAll()) {
    if (!ApiObject.isApiObject(construct)) continue;
    const { kind, apiGroup, metadata } = construct;
    const object = `${kind} ${[metadata.namespace, metadata.name ?? construct.name].filter(Boolean).join('/')}`;
    const key = `${apiGroup} ${object}`;
    const other = holders.get(key);
    if (other === undefined) holders.set(key, construct.node.path);
    else {
      const site = members.find((member) => construct.node.scopes.some((scope) => scope === member.constructAt([])));
      if (site) report(site.constructAt([]), String(siteErrors.SITE_DUPLICATE_OBJECT({ object, other })));
    }
  }
}
