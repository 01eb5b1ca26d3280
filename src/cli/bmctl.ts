#!/usr/bin/env node
/**
 * bmctl: the command line of cdk8s-baremetal. Node runs this file as it is, and tsx the rest. It is found from here, so that bmctl works in any folder (`node
 * --import tsx` would look for it where the shell stands); it belongs to the workspace, as for the npm scripts.
 */
const tsx: { register(): unknown } = await import(import.meta.resolve('tsx/esm/api'));

tsx.register();
await import('./main.ts');
