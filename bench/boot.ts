/**
 * The boot plane beside what others use: TFTP against tftpd-hpa, dnsmasq and atftpd, HTTP against nginx, DHCP against dnsmasq and Kea, with foreign clients
 * (atftp, curl, perfdhcp). Prints the tables of docs/benchmarks.md. Needs root (ports below 1024, namespaces); a peer that is not there is left out aloud.
 * About 8 minutes; with --quick less than two.
 *
 *   npm run bench:boot -- [--quick] [--rounds N] [tftp] [http] [dhcp]
 */
import { parseArgs } from 'node:util';
import { dhcpFigures } from './boot-dhcp.ts';
import { httpFigures } from './boot-http.ts';
import { tftpFigures } from './tftp-figures.ts';

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
  allowPositionals: true,
});
const parts = { tftp: tftpFigures, http: httpFigures, dhcp: dhcpFigures };
const unknown = positionals.filter((name) => !(name in parts));
if (unknown.length > 0) throw new Error(`no such part: ${unknown.join(', ')}`);
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
const began = process.hrtime.bigint();
for (const [name, part] of Object.entries(parts)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  console.log(`\n## ${name.toUpperCase()}, median of ${rounds}`);
  await part({ quick: values.quick, rounds });
}
console.log(`\n${(Number(process.hrtime.bigint() - began) / 1e9).toFixed(0)} s in all${values.quick ? ', --quick' : ''}`);
