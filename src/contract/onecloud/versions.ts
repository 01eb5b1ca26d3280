/** Which of two versions is older, and which programs bring their databases up: what makes a way back dangerous. */
import type { VersionChange } from './cluster-status.ts';
import type { Component } from './component.ts';
import { parseImage } from './image.ts';

/** Every service with a database of its own brings its tables up, in an init container or when it starts. */
export function migratesDatabase({ database }: Pick<Component, 'database'>): boolean {
  return database !== undefined;
}

/** What an image says of its program's version: v3.1.3-20200312.0, with its digest when it is pinned. */
export function programVersion(image: string): string {
  const { tag, digest } = parseImage(image);
  return digest === undefined ? tag : `${tag}@${digest}`;
}

/** Negative: `a` is older. Undefined where names do not tell: latest, branches, a release beside a build of it. */
export function compareVersions(a: string, b: string): number | undefined {
  const [left, right] = [a, b].map(numbersOf);
  if (left === undefined || right === undefined) return undefined;
  const release = compareNumbers(left.release, right.release);
  if (release !== 0) return release;
  if ((left.build.length === 0) !== (right.build.length === 0)) return undefined;
  return compareNumbers(left.build, right.build);
}

export interface StepBackOptions {
  /** Version that last brought the tables up. */
  readonly tables: string;
  readonly to: string;
  /** Versions that ran before. They decide where names do not. */
  readonly ranBefore: readonly string[];
}

/** Whether a program of version `to` would meet tables that a newer one has changed. */
export function isStepBack({ tables, to, ranBefore }: StepBackOptions): boolean {
  if (to === tables) return false;
  const order = compareVersions(to, tables);
  return order === undefined ? ranBefore.includes(to) : order < 0;
}

/** Versions of a component's program that were at its tables, as far as the history reaches. */
export function versionsAtTables(component: string, history: readonly VersionChange[]): string[] {
  return history.flatMap((entry) => {
    const migrated = entry.migrated?.includes(component) === true;
    if (entry.component === component) {
      // what waits for its dump or its window, or never started, has been at no table
      const ran = migrated || entry.outcome === 'Succeeded';
      return [...(entry.from === undefined ? [] : [programVersion(entry.from)]), ...(ran ? [programVersion(entry.to)] : [])];
    }
    if (entry.component !== undefined) return [];
    return entry.from === undefined || migrated ? [entry.to] : [];
  });
}

/** Whether an upgrade that may migrate tables is preceded by a dump, in words that plans and events share. */
export function dumpInWords(backup: object | undefined): string {
  return backup === undefined ? 'no dump is taken: spec.databaseBackup is not set' : 'the databases are dumped first (spec.databaseBackup)';
}

interface Numbers {
  readonly release: readonly number[];
  readonly build: readonly number[];
}

function numbersOf(version: string): Numbers | undefined {
  const match = /^v?(\d+(?:\.\d+)*)(?:-(\d+(?:\.\d+)*))?(?:@.*)?$/.exec(version);
  if (match === null) return undefined;
  const numbers = (text = ''): number[] => (text === '' ? [] : text.split('.').map(Number));
  return { release: numbers(match[1]), build: numbers(match[2]) };
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
