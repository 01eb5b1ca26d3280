#!/usr/bin/env node
/**
 * bmctl: the command line of cdk8s-baremetal. Node runs this file as it is, and tsx the rest: found from here, so that bmctl works in any folder (`node
 * --import tsx` would look for tsx where the shell stands).
 */
import { register } from 'tsx/esm/api';

register();
await import('./main.ts');
