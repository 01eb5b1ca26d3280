/**
 * One DHCP socket for each provisioning interface. Node does not tell which interface a datagram came in by, and cannot bind a socket to one
 * (SO_BINDTODEVICE); a descriptor that is bound already it takes. So the daemon replaces itself, once, by Perl (perl-base, which every Debian system has), which
 * opens the sockets and replaces itself by the daemon again: same process number, same arguments, and the descriptors named in the environment.
 */
import { dhcpErrors } from './dhcp/errors.ts';
import type { DhcpInterface } from './dhcp/settings.ts';

/** `eth0.1800=3,eth0.1900=4` */
export const DEVICE_SOCKETS_VARIABLE = 'BMS_DEVICE_SOCKETS';

/**
 * perl -e OPEN_DEVICE_SOCKETS PORT NAME … -- PROGRAM ARGUMENT …
 *
 * Since Linux 5.7 a socket that is bound to no device yet needs no privilege for SO_BINDTODEVICE (25); before, CAP_NET_RAW.
 */
export const OPEN_DEVICE_SOCKETS = String.raw`
use strict; use warnings; use Socket;
$^F = 255; # descriptors up to this one outlive exec
my $port = shift @ARGV; my (@kept, @told);
while (@ARGV and (my $name = shift @ARGV) ne '--') {
  socket(my $socket, AF_INET, SOCK_DGRAM, 0) or die "no socket for $name: $!\n";
  setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) or die "$name: $!\n";
  setsockopt($socket, SOL_SOCKET, 25, "$name\0") or die "the DHCP socket cannot be bound to interface $name: $!\n";
  bind($socket, sockaddr_in($port, INADDR_ANY)) or die "port $port on interface $name: $!\n";
  push @kept, $socket; push @told, "$name=" . fileno($socket);
}
$ENV{${DEVICE_SOCKETS_VARIABLE}} = join ',', @told;
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\n";
`;

/** What the launcher left; empty when it did not run. */
export function deviceSockets(environment: string | undefined): ReadonlyMap<string, number> {
  return new Map(
    (environment ?? '').split(',').flatMap((text): [string, number][] => {
      const match = /^([^\s=,]+)=(\d{1,4})$/.exec(text);
      return match ? [[match[1] ?? '', Number(match[2])]] : [];
    }),
  );
}

/** The interfaces that DHCP is served on, with their own addresses and descriptors. Throws DHCP_INTERFACE_UNKNOWN. */
export function provisioningInterfaces(
  names: readonly string[],
  addressOf: (name: string) => string | undefined,
  sockets: ReadonlyMap<string, number>,
): readonly DhcpInterface[] {
  return names.map((name) => {
    const address = addressOf(name);
    if (address === undefined) throw dhcpErrors.DHCP_INTERFACE_UNKNOWN({ name });
    const fd = sockets.get(name);
    return { name, address, ...(fd !== undefined && { fd }) };
  });
}
