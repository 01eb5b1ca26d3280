/** The builders of option types, gathered for `types.port()` and the like. */
export { cidr, hostAddress, ipAddress, port, uri } from './network-types.ts';
export { boolean, choice, dictOf, float, integer, listOf, repeated, secret, string } from './value-types.ts';
