#!/usr/bin/perl
# A wire between TFTP clients and a server: delays each datagram, loses some by a seed. Node's timers end at whole milliseconds; select(2) does not.
#   perl tftp-wire.pl LISTEN_ADDRESS SERVER_ADDRESS SERVER_PORT DELAY_MS LOSS_RATIO SEED      prints its port, ends with its standard input
use strict; use warnings; use Socket; use Time::HiRes qw(time);
my ($listen, $server, $port, $delay, $loss, $seed) = @ARGV;
srand($seed); $| = 1;
sub opened { socket(my $s, AF_INET, SOCK_DGRAM, 0) or die $!; setsockopt($s, SOL_SOCKET, SO_RCVBUF, 1 << 20); bind($s, sockaddr_in(0, inet_aton($listen))) or die $!; $s }
my $front = opened(); my $to_server = sockaddr_in($port, inet_aton($server));
my ($number) = sockaddr_in(getsockname $front); print "$number\n";
my %client;  # address of the client => [socket towards the server, address of the transfer]
my %behind;  # descriptor of that socket => [socket, address of the client]
my @queue;   # [when, socket, datagram, address], in order: every delay is the same
my $watched = ''; vec($watched, fileno $front, 1) = 1; vec($watched, 0, 1) = 1;
# Requests are never lost: no server can know of one, and what would be measured is the client's own timer of five seconds
sub carry { push @queue, [time + $delay / 1000, @_] if unpack('n', $_[1]) == 1 or rand() >= $loss }
while (1) {
  my $wait = @queue ? $queue[0][0] - time : undef; $wait = 0 if defined $wait and $wait < 0;
  select(my $ready = $watched, undef, undef, $wait);
  while (@queue and $queue[0][0] <= time) { my (undef, $socket, $data, $to) = @{shift @queue}; send $socket, $data, 0, $to }
  exit 0 if vec($ready, 0, 1);
  if (vec($ready, fileno $front, 1)) {
    while (defined(my $from = recv $front, my $data, 65536, MSG_DONTWAIT)) {
      my $known = $client{$from};
      unless ($known) {
        my $socket = opened(); $known = $client{$from} = [$socket, $to_server];
        $behind{fileno $socket} = [$socket, $from]; vec($watched, fileno $socket, 1) = 1;
      }
      $known->[1] = $to_server if unpack('n', $data) == 1;
      carry($known->[0], $data, $known->[1]);
    }
  }
  for my $number (keys %behind) {
    next unless vec($ready, $number, 1);
    my ($socket, $back) = @{$behind{$number}};
    while (defined(my $from = recv $socket, my $data, 65536, MSG_DONTWAIT)) { $client{$back}[1] = $from; carry($front, $data, $back) }
  }
}
